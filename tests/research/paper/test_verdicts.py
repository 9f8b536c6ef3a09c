import pytest

from research.paper.results import Interval, Stat
from research.paper.verdicts import (
    FAILS,
    HOLDS,
    OPEN,
    MarkdownTable,
    gain_status,
    gain_words,
    interval_text,
    majority,
    signed,
    stat_text,
)

GAIN = Interval(0.02, 0.01, 0.03, 0.2)
LOSS = Interval(-0.02, -0.03, -0.01, 0.2)
WIDE = Interval(0.01, -0.02, 0.04, 0.2)
NONE = Interval(0.0, -0.002, 0.003, 0.2)


@pytest.mark.parametrize(
    ("intervals", "status"),
    [
        ([GAIN], HOLDS),
        ([GAIN, GAIN, WIDE], HOLDS),
        ([GAIN, GAIN, NONE], HOLDS),
        ([GAIN, GAIN, LOSS], OPEN),
        ([GAIN, WIDE], OPEN),
        ([WIDE], OPEN),
        ([NONE], FAILS),
        ([LOSS], FAILS),
        ([NONE, LOSS, GAIN], FAILS),
        ([LOSS, WIDE, WIDE], FAILS),
        ([GAIN, NONE], OPEN),
    ],
)
def test_gains_of_several_data_sets_are_weighed_by_the_stated_rule(intervals, status):
    assert gain_status(intervals) == status


def test_no_gain_is_a_matter_of_the_figure_compared_with():
    small, large = (Interval(0.001, -0.002, 0.004, scale) for scale in (0.05, 0.5))
    assert gain_status([small]) == OPEN
    assert gain_status([large]) == FAILS


def test_the_words_count_gains_losses_and_what_cannot_be_a_gain():
    words = gain_words([GAIN, LOSS, NONE, WIDE])
    assert words == "above 0 on 1, below 0 on 1, no gain of 2% possible on 1 of 4 data sets"
    assert gain_words([GAIN]) == "above 0 on 1, below 0 on 0 of 1 data set"


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([HOLDS, HOLDS, OPEN], HOLDS),
        ([HOLDS, HOLDS, FAILS], OPEN),
        ([HOLDS, OPEN], OPEN),
        ([FAILS, FAILS, HOLDS], FAILS),
        ([FAILS, HOLDS], OPEN),
    ],
)
def test_a_majority_without_a_refutation_holds(states, status):
    assert majority(states) == status


def test_deviations_are_shown_for_several_seeds_only():
    assert stat_text(Stat(0.25, 0.01, 3)) == "0.2500 ± 0.0100"
    assert stat_text(Stat(0.25, 0.0, 1), 2) == "0.25"


def test_intervals_that_are_not_paired_carry_a_star():
    assert interval_text(GAIN) == "+0.0200 [+0.0100, +0.0300]"
    assert interval_text(GAIN.minus(NONE)).endswith("\\*")


def test_signs_are_typographic_and_zero_has_none():
    assert [signed(value, 2) for value in (0.1, -0.1, -0.001, 0.0)] == [
        "+0.10",
        "\u22120.10",
        "0.00",
        "0.00",
    ]


def test_a_bar_in_a_cell_does_not_break_a_table():
    lines = MarkdownTable(("a", "b"), (("x|y", "z"),)).markdown().splitlines()
    assert lines == ["| a | b |", "|---|---|", "| x\\|y | z |"]
