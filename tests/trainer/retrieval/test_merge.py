"""Fault 68 (what a merge must never do) and fault 69 (subset of the union, monotone in k)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.retrieval import oracles
from trainer.retrieval import merge

_SPEC = [
    tf.TensorSpec([None, None, None], tf.int32),
    tf.TensorSpec([None, None, None], tf.float32),
]
_compiled: dict = {}


def run(kind: str, rows, scores, budgets, n: int):
    """Merges in a graph (one trace per n), as serving does."""
    if (kind, n) not in _compiled:
        if kind == "score":
            body = lambda r, s, b: merge.best_score(r, s, n)  # noqa: E731
        else:
            body = lambda r, s, b: merge.round_robin(r, s, b, n)  # noqa: E731
        spec = [*_SPEC, tf.TensorSpec([None, None], tf.int32)]
        _compiled[kind, n] = tf.function(body, input_signature=spec)
    return _compiled[kind, n](
        tf.constant(rows, tf.int32), tf.constant(scores, tf.float32), tf.constant(budgets, tf.int32)
    )


@st.composite
def batches(draw):
    """Users x slots of candidates: distinct rows, falling scores, some rows or scores unusable."""
    users, slots, depth = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    rows = np.full((users, slots, depth), -1, np.int32)
    scores = np.full((users, slots, depth), -np.inf, np.float32)
    for user in range(users):
        for slot in range(slots):
            size = draw(st.integers(0, depth))
            items = draw(st.permutations(range(9)))[:size]
            values = sorted(
                draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size)), reverse=True
            )
            rows[user, slot, :size] = items
            scores[user, slot, :size] = values
            for place in range(size):
                spoil = draw(st.sampled_from(["no", "no", "no", "nan", "row"]))
                if spoil == "nan":
                    scores[user, slot, place] = np.nan
                elif spoil == "row":
                    rows[user, slot, place] = -1
    budgets = draw(
        st.lists(
            st.lists(st.integers(0, 4), min_size=slots, max_size=slots),
            min_size=users,
            max_size=users,
        )
    )
    return rows, scores, budgets


def expected(kind, rows, scores, budgets, n):
    lists = [oracles.usable(list(r), list(s)) for r, s in zip(rows, scores, strict=True)]
    merged = (
        oracles.best_score(lists, n)
        if kind == "score"
        else oracles.round_robin(lists, list(budgets), n)
    )
    return lists, merged


@pytest.mark.fault(68)
@pytest.mark.parametrize("kind", ["round_robin", "score"])
@given(batch=batches(), n=st.sampled_from([1, 3, 7]))
def test_merge_equals_the_plain_python_merge(kind, batch, n):
    rows, scores, budgets = batch
    got = run(kind, rows, scores, budgets, n)
    for user in range(len(rows)):
        lists, want = expected(kind, rows[user], scores[user], budgets[user], n)
        count = int(got.count[user])
        triples = zip(got.row[user], got.score[user], got.slot[user], strict=True)
        assert [(int(a), float(b), int(c)) for a, b, c in triples][:count] == want
        assert (got.row[user, count:].numpy() == -1).all()
        assert (got.slot[user, count:].numpy() == -1).all()
        assert (got.found_by[user, count:].numpy() == 0).all()
        masks = [oracles.found_by(lists, item, n) for item, _, _ in want]
        assert got.found_by[user, :count].numpy().tolist() == masks


@pytest.mark.fault(69)
@pytest.mark.parametrize("kind", ["round_robin", "score"])
@given(batch=batches())
def test_merged_items_are_distinct_known_and_monotone_in_k(kind, batch):
    rows, scores, budgets = batch
    small, large = (run(kind, rows, scores, budgets, n) for n in (3, 7))
    for user in range(len(rows)):
        items = large.row[user, : int(large.count[user])].numpy().tolist()
        fine = (rows[user] >= 0) & np.isfinite(scores[user])
        union = set(rows[user][fine].tolist())
        assert len(set(items)) == len(items)
        assert set(items) <= union
        assert len(items) == min(7, len(union))
        assert items[: int(small.count[user])] == small.row[user].numpy().tolist()[: len(items[:3])]


@pytest.mark.fault(68)
@given(batch=batches())
def test_no_slot_exceeds_its_budget_before_all_budgets_are_used(batch):
    rows, scores, budgets = batch
    for user in range(len(rows)):
        total = sum(budgets[user])
        if total not in (1, 3, 7):
            continue
        got = run("round_robin", rows, scores, budgets, total)
        lists = [
            oracles.usable(list(r), list(s)) for r, s in zip(rows[user], scores[user], strict=True)
        ]
        offered = [slot[:budget] for slot, budget in zip(lists, budgets[user], strict=True)]
        distinct = {item for slot in offered for item, _ in slot}
        used = np.bincount(got.slot[user].numpy()[: len(distinct)].clip(0), minlength=len(lists))
        if distinct:
            assert all(u <= b for u, b in zip(used, budgets[user], strict=True))


@pytest.mark.fault(68)
def test_a_duplicate_uses_up_its_turn_and_ties_go_to_the_lower_slot():
    rows = [[[1, 2, 3], [1, 4, 5]]]
    scores = [[[0.9, 0.8, 0.7], [0.9, 0.8, 0.7]]]
    robin = run("round_robin", rows, scores, [[3, 3]], 5)
    assert robin.row.numpy().tolist() == [[1, 2, 4, 3, 5]]
    assert robin.slot.numpy().tolist() == [[0, 0, 1, 0, 1]]
    assert robin.found_by.numpy().tolist() == [[3, 1, 2, 1, 2]]
    score = run("score", rows, scores, [[0, 0]], 5)
    assert score.row.numpy().tolist() == [[1, 2, 4, 3, 5]]


@given(batch=batches(), balance=st.sampled_from([0.0, 0.3, 2.0, 50.0]))
def test_the_balanced_merge_is_the_greedy_one(batch, balance):
    rows, scores, budgets = batch
    handicap = balance / np.maximum(np.asarray(budgets, np.float32), 1.0)
    got = merge.best_score(
        tf.constant(rows, tf.int32), tf.constant(scores, tf.float32), 7,
        handicap=tf.constant(handicap, tf.float32),
    )  # fmt: skip
    for user in range(len(rows)):
        lists = [
            oracles.usable(list(r), list(s)) for r, s in zip(rows[user], scores[user], strict=True)
        ]
        want = oracles.balanced(lists, list(budgets[user]), balance, 7)
        count = int(got.count[user])
        standing = _standing(lists, list(budgets[user]), balance)
        found = got.row[user, :count].numpy().tolist()
        assert sorted(standing[i] for i in found) == pytest.approx(
            sorted(standing[i] for i, _, _ in want), abs=1e-4
        )


def _standing(lists, budgets, balance):
    """Where each item stands when its best turn comes."""
    best: dict = {}
    for candidates, budget in zip(lists, budgets, strict=True):
        for rank, (item, score) in enumerate(candidates):
            value = score - balance * rank / max(budget, 1)
            best[item] = max(best.get(item, -math.inf), value)
    return best


def test_what_budgets_leave_open_is_filled_in_rounds_of_all_slots():
    rows = [[[1, 2, 3], [4, 5, 6]]]
    scores = [[[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]]]
    got = run("round_robin", rows, scores, [[2, 0]], 5)
    assert got.row.numpy().tolist() == [[1, 2, 4, 5, 3]]


@pytest.mark.fault(68)
@pytest.mark.parametrize("kind", ["round_robin", "score"])
def test_empty_sources_and_empty_batches(kind):
    one_empty = run(kind, [[[7, 8], [-1, -1]]], [[[0.2, 0.1], [0.0, 0.0]]], [[1, 1]], 3)
    assert one_empty.row.numpy().tolist() == [[7, 8, -1]]
    all_empty = run(kind, [[[-1], [-1]]], [[[0.5], [math.nan]]], [[1, 1]], 3)
    assert all_empty.count.numpy().tolist() == [0]
    assert all_empty.row.numpy().tolist() == [[-1, -1, -1]]
    nothing = run(kind, np.zeros((0, 2, 3)), np.zeros((0, 2, 3)), np.zeros((0, 2)), 3)
    assert nothing.row.shape == (0, 3)
    no_candidates = run(kind, np.zeros((2, 2, 0)), np.zeros((2, 2, 0)), np.zeros((2, 2)), 3)
    assert no_candidates.count.numpy().tolist() == [0, 0]


def test_merging_one_user_or_many_gives_the_same():
    rng = np.random.default_rng(3)
    rows = np.stack([[rng.permutation(40)[:12] for _ in range(3)] for _ in range(64)])
    scores = -np.sort(-rng.normal(size=rows.shape), axis=2)
    budgets = rng.integers(0, 6, (64, 3))
    together = run("round_robin", rows, scores, budgets, 7)
    for user in range(64):
        alone = run("round_robin", rows[[user]], scores[[user]], budgets[[user]], 7)
        assert alone.row.numpy().tolist() == together.row[user : user + 1].numpy().tolist()


@given(batch=batches(), temperature=st.sampled_from([0.01, 0.5, 3.0]), seed=st.integers(0, 99))
def test_with_agreement_items_stand_by_the_sum_of_what_their_slots_say(batch, temperature, seed):
    rows, scores, _ = batch
    # No two scores alike, so that the order is decided by them alone.
    noise = np.random.default_rng(seed).uniform(0, 0.9, scores.shape).astype(np.float32)
    scores = -np.sort(-(scores + noise), axis=2)  # not finite ones last
    got = merge.best_score(tf.constant(rows), tf.constant(scores), 20, agreement=temperature)
    for user in range(len(rows)):
        said: dict[int, dict[int, float]] = {}
        for slot, (items, values) in enumerate(zip(rows[user], scores[user], strict=True)):
            for item, value in zip(items, values, strict=True):
                if item >= 0 and np.isfinite(value):
                    said.setdefault(int(item), {})[slot] = float(value)
        together = {
            item: temperature * np.logaddexp.reduce(np.array(list(by.values())) / temperature)
            for item, by in said.items()
        }
        count = int(got.count[user])
        assert count == len(said)
        found = got.row[user, :count].numpy().tolist()
        assert sorted(found) == sorted(said)
        values = [together[item] for item in found]
        assert all(a >= b - 1e-4 for a, b in itertools.pairwise(values))
        for place, item in enumerate(found):
            slot = int(got.slot[user, place])
            assert slot == max(said[item], key=said[item].get)
            np.testing.assert_allclose(got.score[user, place], said[item][slot], rtol=1e-6)


def test_an_item_that_two_slots_found_overtakes_one_that_a_single_slot_put_first():
    rows, scores = tf.constant([[[1, 2], [3, 2]]]), tf.constant([[[0.50, 0.49], [0.48, 0.47]]])
    alone = merge.best_score(rows, scores, 3)
    together = merge.best_score(rows, scores, 3, agreement=0.1)
    assert alone.row.numpy().tolist() == [[1, 2, 3]]
    assert together.row.numpy().tolist() == [[2, 1, 3]]
    assert together.score.numpy()[0, 0] == np.float32(0.49)
