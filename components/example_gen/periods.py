"""The bounds of a split by time, lengthened where the last days hold too few engagements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from components.config import SplitConfig

SECONDS_PER_DAY = 86_400
_HOUR = 3600


class Seen(NamedTuple):
    """When engagements happened.

    Attributes:
      latest: second of the last one; 0 without any.
      hours: engagements of each hour since 1970 that has any.
    """

    latest: int = 0
    hours: Counter[int] = Counter()

    @classmethod
    def of(cls, timestamps: pa.Array) -> Seen:
        """Counts a column of seconds that is not empty."""
        seconds = np.asarray(timestamps)
        hours, counts = np.unique(seconds // _HOUR, return_counts=True)
        counted = zip(hours.tolist(), counts.tolist(), strict=True)
        return cls(int(seconds.max()), Counter(dict(counted)))


class Periods(NamedTuple):
    """How the time of a log is divided.

    Attributes:
      end: of the eval period (exclusive), seconds.
      split: with the lengths of the periods before it.
    """

    end: int
    split: SplitConfig


def periods_of(seen: Seen, split: SplitConfig, window_end: int | None) -> Periods:
    """Returns the periods of a log.

    Args:
      seen: all engagements.
      split: as configured.
      window_end: end (exclusive) of the eval period, seconds; None: one past the latest event.
    """
    end = window_end if window_end is not None else seen.latest + 1
    return Periods(end, lengthened(split, end, seen.hours))


def total(parts: Iterable[Seen]) -> Seen:
    """Adds up what was seen in all parts."""
    latest, hours = 0, Counter[int]()
    for part in parts:
        latest = max(latest, part.latest)
        hours.update(part.hours)
    return Seen(latest, hours)


def lengthened(split: SplitConfig, window_end: int, hours: Mapping[int, int]) -> SplitConfig:
    """Returns a split whose eval and validation hold `split.min_share` of the engagements each.

    A period that holds its share stays as it is, and so does one that would get it only where less
    than half of the engagements were before. Others begin at the full hour from which on they hold
    it, so the result does not depend on the order in which engagements were read.

    Args:
      split: as configured.
      window_end: end (exclusive) of the eval period, seconds.
      hours: engagements of each hour since 1970; those after the window count for nothing.
    """
    if split.strategy != "time" or not split.min_share:
        return split
    within = {hour: count for hour, count in hours.items() if hour * _HOUR < window_end}
    everything = sum(within.values())
    eval_start = _start(within, window_end, split.eval_days, split.min_share, everything)
    # Of the hour in which eval starts it is not known what came before.
    earlier = {hour: count for hour, count in within.items() if (hour + 1) * _HOUR <= eval_start}
    validation_start = _start(
        earlier, eval_start, split.validation_days, split.min_share, everything
    )
    return split.model_copy(
        update={
            "eval_days": (window_end - eval_start) / SECONDS_PER_DAY,
            "validation_days": (eval_start - validation_start) / SECONDS_PER_DAY,
        }
    )


def _start(hours: Mapping[int, int], end: int, days: float, share: float, everything: int) -> int:
    """Returns the start of a period that ends at `end`.

    Args:
      hours: engagements of each hour before `end`.
      end: second.
      days: length of the period as configured.
      share: of everything that it should hold.
      everything: engagements of the window.
    """
    configured = end - round(days * SECONDS_PER_DAY)
    held = 0
    for hour in sorted(hours, reverse=True):
        held += hours[hour]
        if held >= share * everything:
            start = min(configured, hour * _HOUR)
            before = sum(count for each, count in hours.items() if each * _HOUR < start)
            return start if 2 * before >= everything else configured
    return configured


def period_counts(split: SplitConfig) -> Iterator[tuple[str, int]]:
    """Yields the lengths of the periods, seconds, as counts for the report."""
    if split.strategy == "time":
        yield "period:eval", round(split.eval_days * SECONDS_PER_DAY)
        yield "period:validation", round(split.validation_days * SECONDS_PER_DAY)
