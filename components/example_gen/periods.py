"""The bounds of a split by time, lengthened where the last days hold too few engagements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from components.config import SplitConfig

SECONDS_PER_DAY = 86_400
#: Names of counts that a run reports, seconds.
EVAL_SECONDS, VALIDATION_SECONDS = "period:eval", "period:validation"


class Seen(NamedTuple):
    """When engagements happened.

    Attributes:
      latest: second of the last one; 0 without any.
      days: engagements of each day since 1970 (UTC) that has any.
    """

    latest: int = 0
    days: Counter[int] = Counter()

    @classmethod
    def of(cls, timestamps: pa.Array) -> Seen:
        """Counts a column of seconds that is not empty."""
        seconds = np.asarray(timestamps)
        days, counts = np.unique(seconds // SECONDS_PER_DAY, return_counts=True)
        return cls(
            int(seconds.max()), Counter(dict(zip(days.tolist(), counts.tolist(), strict=True)))
        )


def total(parts: Iterable[Seen]) -> Seen:
    """Adds up what was seen in all parts."""
    latest, days = 0, Counter[int]()
    for part in parts:
        latest = max(latest, part.latest)
        days.update(part.days)
    return Seen(latest, days)


def lengthened(split: SplitConfig, window_end: int, days: Counter[int]) -> SplitConfig:
    """Returns a split whose eval and validation hold `split.min_share` of the engagements each.

    Periods only become longer, to the start of a day (UTC) before, so the result does not depend
    on the order in which engagements were read.

    Args:
      split: as configured.
      window_end: end (exclusive) of the eval period, seconds.
      days: engagements of each day since 1970; those after the window count for nothing.
    """
    if split.strategy != "time" or not split.min_share:
        return split
    within = {day: count for day, count in days.items() if day * SECONDS_PER_DAY < window_end}
    least = split.min_share * sum(within.values())
    eval_start = min(
        window_end - round(split.eval_days * SECONDS_PER_DAY), _start(within, window_end, least)
    )
    validation_start = min(
        eval_start - round(split.validation_days * SECONDS_PER_DAY),
        _start(within, eval_start, least),
    )
    return split.model_copy(
        update={
            "eval_days": (window_end - eval_start) / SECONDS_PER_DAY,
            "validation_days": (eval_start - validation_start) / SECONDS_PER_DAY,
        }
    )


def _start(days: dict[int, int], end: int, least: float) -> int:
    """Returns the start of the last day from which on at least so many come before `end`."""
    held = 0
    for day in sorted((day for day in days if day * SECONDS_PER_DAY < end), reverse=True):
        held += days[day]
        if held >= least:
            return day * SECONDS_PER_DAY
    return end


def period_counts(split: SplitConfig) -> Iterator[tuple[str, int]]:
    """Yields the lengths of the periods, seconds, for the report."""
    if split.strategy == "time":
        yield EVAL_SECONDS, round(split.eval_days * SECONDS_PER_DAY)
        yield VALIDATION_SECONDS, round(split.validation_days * SECONDS_PER_DAY)
