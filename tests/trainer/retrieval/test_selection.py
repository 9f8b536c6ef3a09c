"""Searching as deep as needed gives the lists of searching as deep as possible."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.retrieval import oracles
from tests.trainer.retrieval.fake_model import unit
from trainer.config import RetrievalConfig
from trainer.retrieval import selection
from trainer.retrieval.budgets import slot_budgets
from trainer.retrieval.search import ExactSearch
from trainer.retrieval.selection import SearchedSlots, Selector, slot_depth

ITEMS, SLOTS, SEEN = 40, 4, 5
VECTORS = unit(np.random.default_rng(0).normal(size=(ITEMS, 3)))
_SPEC = SearchedSlots(
    vectors=tf.TensorSpec([None, SLOTS, 3], tf.float32),
    topic=tf.TensorSpec([None, SLOTS], tf.string),
    kind=tf.TensorSpec([None, SLOTS], tf.int32),
    mass=tf.TensorSpec([None, SLOTS], tf.float32),
    valid=tf.TensorSpec([None, SLOTS], tf.bool),
    seen=tf.TensorSpec([None, None], tf.int32),
    limit=tf.TensorSpec([None], tf.int32),
)


class Counting:
    """Exact search that notes how deep it was asked."""

    def __init__(self):
        self.exact = ExactSearch(tf.Variable(VECTORS))
        self.asked = tf.Variable([], shape=[None], dtype=tf.int32)

    def search(self, queries, k):
        self.asked.assign(tf.concat([self.asked, k[None]], axis=0))
        return self.exact.search(queries, k)


@pytest.fixture(scope="module")
def searcher():
    return Counting()


@pytest.fixture(scope="module")
def select(searcher):
    """The selector as a graph, every slot asked for as few candidates as may be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "DEPTH_MIN", 1)
        selector = Selector(RetrievalConfig(num_results=20, merge="round_robin"), searcher, None)

        @tf.function(input_signature=_SPEC[:7])
        def graph(*values):
            return selector.select(SearchedSlots(*values))

        graph = graph.get_concrete_function()

    def run(wanted: SearchedSlots):
        searcher.asked.assign([])
        return graph(*[tf.constant(value) for value in wanted[:7]])

    return run


@st.composite
def wanted_lists(draw) -> SearchedSlots:
    users = draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    vectors = unit(random.normal(size=(users, SLOTS, 3)))
    if draw(st.booleans()):  # slots that want the very same items
        vectors = np.repeat(vectors[:, :1], SLOTS, axis=1)
    kind = random.integers(0, 2, (users, SLOTS)).astype(np.int32)
    return SearchedSlots(
        vectors=vectors,
        topic=np.full((users, SLOTS), b"", object),
        kind=kind,
        mass=(random.integers(0, 9, (users, SLOTS)) * (kind == 0)).astype(np.float32),
        valid=random.random((users, SLOTS)) < draw(st.sampled_from([0.3, 1.0])),
        seen=random.integers(-1, ITEMS, (users, SEEN)).astype(np.int32),
        limit=random.integers(1, draw(st.sampled_from([4, 20, 60])), users).astype(np.int32),
    )


def plain(wanted: SearchedSlots, user: int, monkey_depth: int = 1):
    """List and `found_by` of one user, from complete searches."""
    unseen = [row for row in range(ITEMS) if row not in wanted.seen[user]]
    lists = [
        oracles.search(vector, VECTORS, unseen) if valid else []
        for vector, valid in zip(wanted.vectors[user], wanted.valid[user], strict=True)
    ]
    limit = int(wanted.limit[user])
    budgets = slot_budgets(
        *[tf.constant(v[[user]]) for v in (wanted.mass, wanted.valid, wanted.kind)], limit, 0.2
    ).numpy()[0]
    slots = max(1, int(wanted.valid[user].sum()))
    depth = min(limit, max(monkey_depth, 2 * limit // slots, int(budgets.max())))
    cut = [candidates[:depth] for candidates in lists]
    if len(oracles.round_robin(cut, budgets.tolist(), limit)) < limit:
        depth = limit
    merged = oracles.round_robin(lists, budgets.tolist(), limit)
    return merged, [oracles.found_by(lists, item, depth) for item, _, _ in merged]


@pytest.mark.fault(69)
@given(wanted=wanted_lists())
def test_lists_are_those_of_complete_searches_and_of_each_user_alone(select, wanted):
    got = select(wanted)
    for user in range(len(wanted.limit)):
        merged, masks = plain(wanted, user)
        count = int(got.count[user])
        assert got.row[user, :count].numpy().tolist() == [row for row, _, _ in merged]
        assert got.slot[user, :count].numpy().tolist() == [slot for _, _, slot in merged]
        assert got.found_by[user, :count].numpy().tolist() == masks
        assert (got.row[user, count:].numpy() == -1).all()
        alone = select(SearchedSlots(*[value[[user]] for value in wanted[:7]]))
        assert alone.row[0, :count].numpy().tolist() == got.row[user, :count].numpy().tolist()
        assert alone.found_by[0, :count].numpy().tolist() == masks


def asked_for(vectors: np.ndarray, limit: int) -> SearchedSlots:
    return SearchedSlots(
        vectors=vectors,
        topic=np.full((1, SLOTS), b"", object),
        kind=np.zeros((1, SLOTS), np.int32),
        mass=np.ones((1, SLOTS), np.float32),
        valid=np.ones((1, SLOTS), bool),
        seen=np.full((1, 1), -1, np.int32),
        limit=np.array([limit], np.int32),
    )


def test_slots_of_different_taste_are_asked_once_and_not_deeply(select, searcher):
    axes = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], np.float32)
    assert int(select(asked_for(axes[None], 12)).count[0]) == 12
    assert searcher.asked.numpy().tolist() == [6]


def test_slots_of_one_taste_are_asked_again(select, searcher):
    same = np.tile(np.array([1, 0, 0], np.float32), (1, SLOTS, 1))
    assert int(select(asked_for(same, 12)).count[0]) == 12
    assert searcher.asked.numpy().tolist() == [6, 12]


def test_a_slot_is_asked_for_its_budget_and_the_least_depth_at_least():
    budgets = tf.constant([[300, 100, 100], [2, 2, 1], [200, 200, 100], [0, 0, 0]])
    valid = tf.constant([[True] * 3, [True] * 3, [True] * 3, [False] * 3])
    got = slot_depth(budgets, valid, tf.constant([500, 5, 500, 7]))
    assert got.numpy().tolist() == [333, 5, 333, 7]
    many = slot_depth(tf.fill([1, 12], 42), tf.fill([1, 12], True), tf.constant([500]))
    assert many.numpy().tolist() == [selection.DEPTH_MIN]
