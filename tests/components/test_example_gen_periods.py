"""Periods of a split by time that hold enough engagements."""

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from components.config import SplitConfig
from components.example_gen.periods import SECONDS_PER_DAY, Seen, lengthened, period_counts, total

DAY, HOUR = SECONDS_PER_DAY, 3600
TIMES = st.lists(st.integers(0, 400 * DAY), min_size=1, max_size=60)
DAYS = st.floats(0.05, 5)


def bounds(split: SplitConfig, end: int) -> tuple[int, int]:
    """Returns where validation and eval start."""
    lengths = dict(period_counts(split))
    start = end - lengths["period:eval"]
    return start - lengths["period:validation"], start


@given(TIMES, st.sampled_from([0.01, 0.05, 0.25]), DAYS, DAYS)
@example([0] + [400 * DAY] * 5, 0.25, 0.5, 0.5)  # too few before eval
@example([60 * minute for minute in range(1200)], 0.05, 0.1, 0.1)  # a single day
@example(
    [1] * 100 + [10 * DAY] * 50 + [12 * DAY + 43200] * 50 + [15 * DAY + 43200] * 20, 0.05, 3, 2
)
def test_each_period_holds_its_share_or_is_as_configured(times, share, last, before):
    split = SplitConfig(eval_days=last, validation_days=before, min_share=share)
    seen = Seen.of(pa.array(times))
    end, seconds = seen.latest + 1, np.array(times)
    found = lengthened(split, end, seen.hours)
    validation, evaluation = bounds(found, end)
    held = (seconds >= evaluation).sum()
    earlier = ((seconds >= validation) & (seconds < evaluation)).sum()
    for count, days, configured in (
        (held, found.eval_days, last),
        (earlier, found.validation_days, before),
    ):
        unchanged = abs(days - configured) < 1e-4
        assert days > configured - 1e-4
        assert count >= share * len(seconds) or unchanged
        assert (seconds < validation).sum() >= 0.5 * len(seconds) - earlier or unchanged
    # What holds its share stays, but for the hours at the ends, which are counted whole.
    if ((seconds >= end - last * DAY + HOUR) & (seconds < end)).sum() >= share * len(seconds):
        assert abs(found.eval_days - last) < 1e-4


@given(TIMES, st.integers(1, 9))
def test_parts_add_up_to_the_whole(times, parts):
    pieces = [Seen.of(pa.array(part)) for part in np.array_split(times, parts) if len(part)]
    assert total(pieces[::-1]) == Seen.of(pa.array(times))
    assert total([]) == Seen(0, Counter())


def test_a_long_log_is_held_out_from_the_hour_that_makes_the_share():
    hours = Counter(dict.fromkeys(range(24 * 1000), 1))
    found = lengthened(SplitConfig(min_share=0.1), 1000 * DAY, hours)
    assert (found.eval_days, found.validation_days) == (100, 100)


def test_without_a_share_and_for_other_strategies_nothing_changes():
    hours = Counter({1: 5, 7000: 1})
    for split in (SplitConfig(), SplitConfig(strategy="leave_last_two_out", min_share=0.2)):
        assert lengthened(split, 301 * DAY, hours) is split
    assert not list(period_counts(SplitConfig(strategy="leave_last_two_out")))


def test_engagements_after_the_window_count_for_nothing():
    hours = Counter({24 * day: 1 for day in range(100)} | {24 * 200: 1000})
    found = lengthened(SplitConfig(min_share=0.1), 100 * DAY, hours)
    assert (found.eval_days, found.validation_days) == (10, 10)


def test_half_of_the_engagements_stay_before_a_lengthened_period():
    # A copy of another system: nearly everything in one hour, a little before and after.
    hours = Counter({0: 10, 24 * 30: 980, 24 * 35: 10})
    found = lengthened(SplitConfig(min_share=0.05), 36 * DAY, hours)
    assert (found.eval_days, found.validation_days) == (1, 1)
