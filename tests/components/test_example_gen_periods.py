"""Periods of a split by time that hold enough engagements."""

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from components.config import SplitConfig
from components.example_gen.periods import SECONDS_PER_DAY, Seen, lengthened, total

TIMES = st.lists(st.integers(0, 400 * SECONDS_PER_DAY), min_size=1, max_size=60)


@given(TIMES, st.sampled_from([0.01, 0.05, 0.25]), st.floats(0.5, 5), st.floats(0.5, 5))
def test_both_periods_hold_their_share_and_none_is_shorter_than_asked(times, share, last, before):
    split = SplitConfig(eval_days=last, validation_days=before, min_share=share)
    seen = Seen.of(pa.array(times))
    end = seen.latest + 1
    found = lengthened(split, end, seen.days)
    seconds = np.array(times)
    eval_start = end - round(found.eval_days * SECONDS_PER_DAY)
    validation_start = eval_start - round(found.validation_days * SECONDS_PER_DAY)
    assert found.eval_days >= last - 1e-4
    assert found.validation_days >= before - 1e-4
    assert (seconds >= eval_start).sum() >= share * len(seconds)
    # The day in which eval starts counts whole for validation.
    end_of_day = -(-eval_start // SECONDS_PER_DAY) * SECONDS_PER_DAY
    held = ((seconds >= validation_start) & (seconds < end_of_day)).sum()
    assert held >= share * len(seconds) or validation_start <= seconds.min()


@given(TIMES, st.integers(1, 9))
def test_parts_add_up_to_the_whole(times, parts):
    pieces = [Seen.of(pa.array(part)) for part in np.array_split(times, parts) if len(part)]
    assert total(pieces[::-1]) == Seen.of(pa.array(times))
    assert total([]) == Seen(0, Counter())


def test_without_a_share_and_for_other_strategies_nothing_changes():
    days = Counter({1: 5, 300: 1})
    for split in (SplitConfig(), SplitConfig(strategy="leave_last_two_out", min_share=0.2)):
        assert lengthened(split, 301 * SECONDS_PER_DAY, days) is split


def test_engagements_after_the_window_count_for_nothing():
    days = Counter({day: 1 for day in range(100)} | {200: 1000})
    found = lengthened(SplitConfig(min_share=0.1), 100 * SECONDS_PER_DAY, days)
    assert (found.eval_days, found.validation_days) == (10, 10)
