"""Runs of days in the past: one after the other, the earliest first, only what is missing.

Two runs at once would both start from the same baseline, so there is one at a time. A
day is skipped when it has been published or its newest run has succeeded, so the same
call again goes on where the last one stopped.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from kubeflow_pipelines.client.errors import DayError
from kubeflow_pipelines.client.records import RunState

#: Day -> newest published version; None where nobody can know.
Published = Callable[[], Mapping[dt.date, int] | None]
NOTHING_PUBLISHED = (
    "no version of that day is published: the model was not blessed, or a later day is published "
    "already (pusher.allow_older_span)"
)


@dataclass(frozen=True)
class Attempt:
    """A run of one day.

    Attributes:
      run_id: names it.
      state: running, succeeded or failed.
      link: where to look at it; '' when there is no such place.
      reason: why it failed, as far as that is known.
    """

    run_id: str
    state: RunState
    link: str = ""
    reason: str = ""


class DayBackend(Protocol):
    """What runs the pipeline for a day.

    Its methods may raise `DayError` when the run of this day is lost; every other error
    ends the back-fill.
    """

    def newest(self, day: dt.date) -> Attempt | None:
        """Returns the newest run of a day, whatever became of it; None without any."""

    def start(self, day: dt.date) -> Attempt:
        """Starts a run of a day; it may have ended when this returns."""

    def wait(self, attempt: Attempt) -> Attempt:
        """Returns a run when it has ended: succeeded or failed."""


@dataclass(frozen=True)
class DayResult:
    """What became of one day.

    Attributes:
      outcome: `skipped` has nothing to do, `not tried` follows a failure with fail-fast.
      note: why.
      version: published for it, None when that is unknown or there is none.
      seconds: that this call waited for it.
    """

    day: dt.date
    outcome: Literal["done", "skipped", "failed", "not tried"]
    note: str = ""
    run_id: str = ""
    link: str = ""
    version: int | None = None
    seconds: float = 0.0

    @property
    def missing(self) -> bool:
        """Whether another call is needed."""
        return self.outcome in ("failed", "not tried")


def backfill(
    backend: DayBackend,
    days: Iterable[dt.date],
    published: Published,
    *,
    again: bool = False,
    fail_fast: bool = False,
    report: Callable[[DayResult], None] = lambda result: None,
) -> list[DayResult]:
    """Runs every day that is missing.

    Args:
      backend: runs the pipeline.
      days: in the order in which they run.
      published: tells which days are published.
      again: run days that are done, too.
      fail_fast: leave the days after one that failed.
      report: is told each result as soon as there is one.

    Returns:
      One result per day.
    """
    results: list[DayResult] = []
    for day in days:
        if fail_fast and any(result.outcome == "failed" for result in results):
            result = DayResult(day, "not tried", "an earlier day failed (--fail-fast)")
        else:
            result = _one_day(backend, day, published, again)
        results.append(result)
        report(result)
    return results


def _one_day(backend: DayBackend, day: dt.date, published: Published, again: bool) -> DayResult:
    started = time.monotonic()
    version = None if again else (published() or {}).get(day)
    if version is not None:
        return DayResult(day, "skipped", f"version {version} is published", version=version)
    try:
        attempt = backend.newest(day)
        if attempt is not None and attempt.state is RunState.SUCCEEDED and not again:
            known = published()
            note = "its newest run succeeded"
            note += f"; {NOTHING_PUBLISHED}" if known is not None else ""
            return DayResult(day, "skipped", note, attempt.run_id, attempt.link)
        if attempt is None or attempt.state is not RunState.RUNNING:
            attempt = backend.start(day)
        attempt = backend.wait(attempt)
    except DayError as error:
        return DayResult(day, "failed", str(error), seconds=time.monotonic() - started)
    seconds = time.monotonic() - started
    if attempt.state is not RunState.SUCCEEDED:
        note = attempt.reason or "the run failed"
        return DayResult(day, "failed", note, attempt.run_id, attempt.link, None, seconds)
    known = published()
    version = (known or {}).get(day)
    note = NOTHING_PUBLISHED if known is not None and version is None else ""
    return DayResult(day, "done", note, attempt.run_id, attempt.link, version, seconds)
