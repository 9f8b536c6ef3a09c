"""What a Kubeflow Pipelines server knows, as typed records."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubeflow_pipelines.parameters import RUN_DATE

_SUCCEEDED = frozenset({"SUCCEEDED", "SKIPPED"})
_FAILED = frozenset({"FAILED", "CANCELED", "ERROR"})


class RunState(enum.Enum):
    """How far a run is; one that is still being cancelled or is paused counts as running."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @staticmethod
    def of(word: str | None) -> RunState:
        """Returns the state for Kubeflow's word."""
        word = (word or "").upper()
        if word in _SUCCEEDED:
            return RunState.SUCCEEDED
        return RunState.FAILED if word in _FAILED else RunState.RUNNING


@dataclass(frozen=True)
class Version:
    """A version of a pipeline."""

    pipeline_id: str
    version_id: str
    name: str


@dataclass(frozen=True)
class Launch:
    """All that a run needs but its day.

    Attributes:
      name: of the pipeline.
      version: that runs.
      experiment_id: that it belongs to.
      parameters: that were given, without the run date.
      pipeline_root: '' leaves it to the compiled file.
      service_account: '' leaves it to the server.
    """

    name: str
    version: Version
    experiment_id: str
    parameters: Mapping[str, Any]
    pipeline_root: str = ""
    service_account: str = ""

    def run_name(self, day: dt.date | None) -> str:
        """Names the run of a day; None: of tables without days."""
        return self.name if day is None else f"{self.name}-{day.isoformat()}"

    def with_day(self, run_date: str | None) -> dict[str, Any]:
        """Returns all parameters of a run."""
        day = {} if run_date is None else {RUN_DATE: run_date}
        return {**self.parameters, **day}


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
      day: that it covers, None when its parameters name none.
      shown_state: Kubeflow's word for the state.
      reason: why it failed, as far as the server tells.
    """

    run_id: str
    name: str
    state: RunState
    shown_state: str
    day: dt.date | None
    parameters: Mapping[str, Any]
    created_at: dt.datetime | None
    finished_at: dt.datetime | None
    pipeline_id: str
    link: str
    reason: str

    @property
    def seconds(self) -> float | None:
        """How long it took, None while that is unknown."""
        if self.created_at is None or self.finished_at is None:
            return None
        return max((self.finished_at - self.created_at).total_seconds(), 0.0)


@dataclass(frozen=True)
class Schedule:
    """What should run when.

    Attributes:
      run_date: parameter of its runs, None for tables without days.
    """

    launch: Launch
    cron: str
    run_date: str | None


@dataclass(frozen=True)
class Recurring:
    """A recurring run as the server has it."""

    recurring_id: str
    name: str
    note: str
    enabled: bool
    cron: str
    parameters: Mapping[str, Any]
    version_id: str
    pipeline_root: str
    service_account: str
    max_concurrency: str
    no_catchup: bool
    created_at: dt.datetime | None

    def does(self, schedule: Schedule) -> bool:
        """Tells whether it is this schedule, enabled or not.

        What the configuration leaves to the server is not compared: it fills that in.
        """
        launch = schedule.launch
        return (
            self.cron == schedule.cron
            and self.version_id == launch.version.version_id
            and dict(self.parameters) == launch.with_day(schedule.run_date)
            and self.no_catchup
            and self.max_concurrency == "1"
            and (not launch.pipeline_root or self.pipeline_root == launch.pipeline_root)
            and (not launch.service_account or self.service_account == launch.service_account)
        )
