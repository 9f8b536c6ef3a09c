"""Unions of result lists at an equal total."""

import numpy as np
import pytest
from hypothesis import example as one_example
from hypothesis import given
from hypothesis import strategies as st

from research.experiment.unions import part_overlap, union
from tests.trainer.retrieval import oracles

N = 8


def loop_union(parts, budgets, n):
    """Takes from each part in turn, within the budgets first."""
    merged, brought = [], []
    for over in (False, True):
        for turn in range(max(map(len, parts))):
            for number, part in enumerate(parts):
                if turn >= len(part) or (turn >= budgets[number]) != over:
                    continue
                if part[turn] >= 0 and part[turn] not in merged:
                    merged.append(part[turn])
                    brought.append(number)
    return merged[:n], brought[:n]


@st.composite
def lists(draw):
    """Two or three parts for some examples: distinct items, padded on the right."""
    number, count = draw(st.integers(2, 3)), draw(st.integers(1, 4))
    parts = []
    for _ in range(number):
        rows = []
        for _ in range(count):
            row = draw(st.lists(st.integers(0, 20), max_size=N, unique=True))
            rows.append(row + [draw(st.sampled_from([-1, -2]))] * (N - len(row)))
        parts.append(np.asarray(rows, np.int32))
    return parts


@one_example(
    [np.array([[0, 2] + [-1] * 6]), np.array([[0, 1] + [-1] * 6]), np.full((1, 8), -1)], [1, 4, 4]
)
@given(lists(), st.lists(st.integers(0, 4), min_size=3, max_size=3))
def test_a_union_is_the_round_robin_of_its_parts(parts, quarters):
    shares = [share + 1 for share in quarters[: len(parts)]]
    kinds = [np.where(part < 0, -1, number).astype(np.int8) for number, part in enumerate(parts)]
    found = union(parts, kinds, shares, N)
    budgets = oracles.largest_remainder(shares, N)
    for example in range(len(parts[0])):
        rows = [part[example].tolist() for part in parts]
        want, brought = loop_union(rows, budgets, N)
        got = found.lists[example].tolist()
        assert got == want + [-1] * (N - len(want))
        assert found.part[example].tolist() == brought + [-1] * (N - len(want))
        assert found.kind[example].tolist() == found.part[example].tolist()
        for item, bits in zip(got, found.found_by[example].tolist(), strict=True):
            owners = {number for number, row in enumerate(rows) if item >= 0 and item in row}
            assert {number for number in range(3) if bits >> number & 1} == owners


def test_shares_are_kept_when_every_part_has_enough_items_of_its_own():
    first = np.arange(100, dtype=np.int32)[None, :]
    second = first + 1000
    kinds = [np.zeros_like(first, np.int8), np.ones_like(first, np.int8)]
    found = union([first, second], kinds, [0.8, 0.2], 100)
    assert (found.part == 0).sum() == 80 and (found.part == 1).sum() == 20
    assert len(set(found.lists[0].tolist())) == 100
    assert found.lists[0, :4].tolist() == [0, 1000, 1, 1001]


def test_a_part_without_items_leaves_its_share_to_the_other():
    first = np.arange(10, dtype=np.int32)[None, :]
    found = union([first, np.full_like(first, -1)], [first * 0, first * 0 - 1], [0.5, 0.5], 10)
    assert found.lists[0].tolist() == list(range(10)) and (found.part == 0).all()


def test_kinds_are_those_of_the_slots_within_the_part():
    first = np.array([[5, 6, 7]], np.int32)
    kind = np.array([[0, 1, 0]], np.int8)
    second = np.array([[6, 9]], np.int32)
    found = union([first, second], [kind, np.array([[1, 0]], np.int8)], [0.5, 0.5], 4)
    assert found.lists[0].tolist() == [5, 6, 9, 7]
    assert found.part[0].tolist() == [0, 1, 1, 0]
    assert found.kind[0].tolist() == [0, 1, 0, 0]


@given(lists())
def test_the_overlap_of_two_parts_is_that_of_their_sets(parts):
    share, jaccard = part_overlap(parts[0], parts[1])
    for example in range(len(parts[0])):
        a, b = (set(part[example][part[example] >= 0].tolist()) for part in parts[:2])
        if not a or not b:
            assert np.isnan(share[example]) and np.isnan(jaccard[example])
            continue
        assert share[example] == pytest.approx(len(a & b) / len(a))
        assert jaccard[example] == pytest.approx(len(a & b) / len(a | b))


def test_no_examples_make_an_empty_union():
    none = np.zeros((0, 5), np.int32)
    found = union([none, none], [none, none], [0.5, 0.5], 5)
    assert found.lists.shape == found.kind.shape == (0, 5)
