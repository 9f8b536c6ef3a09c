"""Slices of the eval examples."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from research.experiment.population import Population, make_population, primary_topics
from research.experiment.slices import (
    history_ranges,
    history_terciles,
    interest_masks,
    interest_rank,
    population_slices,
)
from tests.research.experiment.fake_runs import fake_config, fake_dataset

TOPICS = 4


def population(histories, targets, primary, follows=None):
    """A population whose items carry their primary topic alone."""
    items = len(primary)
    known = [(item, topic) for item, topic in enumerate(primary) if topic >= 0]
    topics = sparse.csr_matrix(
        (np.ones(len(known)), tuple(np.reshape(known, (-1, 2)).astype(int).T)),
        shape=(items, TOPICS),
    )
    count = len(histories)
    wanted = np.zeros((count, TOPICS))
    for example, names in enumerate(follows or []):
        wanted[example, list(names)] = 1
    lengths = np.array([len(history) for history in histories], np.int64)
    return Population(
        users=np.arange(count),
        target=np.asarray(targets, np.int32),
        target_new=np.zeros(count, bool),
        history_length=lengths,
        history_start=np.concatenate([[0], np.cumsum(lengths)]),
        history=np.array([i for history in histories for i in history], np.int32),
        follows=sparse.csr_matrix(wanted),
        source=sparse.csr_matrix(wanted * 0),
        topics=topics,
        primary=np.asarray(primary, np.int32),
    )


def loop_rank(history, target, primary):
    wanted = primary[target] if target >= 0 else -1
    topics = [primary[item] for item in history if item >= 0 and primary[item] >= 0]
    if wanted < 0 or not topics:
        return 0
    order = sorted(set(topics), key=lambda t: (-Counter(topics)[t], topics.index(t)))
    return order.index(wanted) + 1 if wanted in order else max(len(order) + 1, 4)


_ITEM = st.integers(-2, 9)


@given(
    st.lists(st.tuples(st.lists(_ITEM, max_size=8), _ITEM), min_size=1, max_size=6),
    st.lists(st.integers(-1, TOPICS - 1), min_size=10, max_size=10),
)
def test_the_rank_of_an_interest_is_its_place_among_the_topics_of_the_history(examples, primary):
    histories, targets = zip(*examples, strict=True)
    rank = interest_rank(population(histories, targets, primary))
    want = [loop_rank(h, t, primary) for h, t in examples]
    assert rank.tolist() == want
    masks = interest_masks(rank)
    assert (sum(mask.astype(int) for mask in masks.values()) == (rank > 0)).all()
    for example, place in enumerate(want):
        value = {0: None, 1: "head", 2: "torso", 3: "torso"}.get(place, "tail")
        assert [name for name, mask in masks.items() if mask[example]] == [value] * (place > 0)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=40))
def test_history_slices_hold_every_example_once_and_rise(lengths):
    length = np.asarray(lengths)
    for masks in (history_terciles(length), history_ranges(length)):
        assert (sum(mask.astype(int) for mask in masks.values()) == 1).all()
        filled = [length[mask] for mask in masks.values() if mask.any()]
        for shorter, longer in itertools.pairwise(filled):
            assert shorter.max() < longer.min()


def test_terciles_of_distinct_lengths_are_thirds():
    masks = history_terciles(np.random.default_rng(0).permutation(30))
    assert [int(mask.sum()) for mask in masks.values()] == [10, 10, 10]


def test_histories_that_were_all_cut_at_one_length_are_the_long_ones():
    masks = history_terciles(np.array([100] * 20 + [30, 50, 60, 70, 80, 80, 90, 95, 95, 98, 10]))
    assert [int(mask.sum()) for mask in masks.values()] == [11, 0, 20]
    masks = history_terciles(np.array([1] * 30 + [2] * 5 + [7] * 30 + [9] * 20))
    assert [int(mask.sum()) for mask in masks.values()] == [30, 5, 50]


def test_a_target_is_followed_when_it_carries_a_followed_topic():
    found = population_slices(
        population([[0], [1], [2], []], [1, 1, -1, 0], [0, 1, 2], [{1, 2}, {0}, {1}, set()])
    )
    assert found["followed_target"]["source"].tolist() == [True, False, False, False]
    assert found["followed_target"]["no_source"].tolist() == [False, True, True, True]
    assert found["follows"]["non_followers"].tolist() == [False, False, False, True]


def test_slices_partition_the_examples_of_a_real_population(tmp_path):
    runs = fake_dataset(tmp_path, fake_config(tmp_path, seeds=[1]), count=40)
    new = np.arange(40) % 5 == 0
    slices = population_slices(make_population(runs.examples, runs.items, new))
    for name in ("activity", "history_tercile", "history_length", "follows", "target"):
        assert (sum(mask.astype(int) for mask in slices[name].values()) == 1).all(), name
    assert (slices["target"]["new"] == new).all()
    assert (slices["activity"]["new"] == (runs.examples.history_length == 0)).all()


def test_a_population_reads_what_the_examples_say(tmp_path):
    runs = fake_dataset(tmp_path, fake_config(tmp_path, seeds=[1]), count=24)
    found = make_population(runs.examples, runs.items, np.zeros(24, bool))
    names = sorted({f"t{i}" for i in range(6)})
    for place, row in enumerate(runs.examples.table.to_pylist()):
        begin, end = found.history_start[place : place + 2]
        want = [int(item.decode()[1:]) for item in row["history_item_id"]]
        assert found.history[begin:end].tolist() == want
        follows = {names[column] for column in found.follows[place].indices}
        assert follows == {topic.decode() for topic in row["followed_topic"]}
        logged = row["source_topic"] and row["source_topic_derived"] == [0]
        source = [names[column] for column in found.source[place].indices]
        assert source == ([row["source_topic"][0].decode()] if logged else [])
    users = [row["user_id"][0] for row in runs.examples.table.to_pylist()]
    for a in range(24):
        for b in range(24):
            assert (found.users[a] == found.users[b]) == (users[a] == users[b])


@given(st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=25))
def test_the_primary_topic_is_the_rarest_that_enough_items_carry(carried):
    matrix = np.zeros((len(carried), 6))
    for item, topics in enumerate(carried):
        matrix[item, list(topics)] = 1
    counts = matrix.sum(0)
    found = primary_topics(sparse.csr_matrix(matrix))
    for item, topics in enumerate(carried):
        common = [topic for topic in sorted(topics) if counts[topic] >= 5]
        pool = common or sorted(topics)
        assert found[item] == (min(pool, key=lambda t: counts[t]) if pool else -1)


def test_sources_that_were_derived_are_not_logged(tmp_path):
    runs = fake_dataset(tmp_path, fake_config(tmp_path, seeds=[1]), count=40)
    found = make_population(runs.examples, runs.items, np.zeros(40, bool))
    with np.load(runs.runs["two", 1] / "source.npz") as stored:
        assert np.flatnonzero(np.diff(found.source.indptr)).tolist() == stored["asked"].tolist()
    assert found.source.sum() == pytest.approx(len(np.flatnonzero(np.diff(found.source.indptr))))
