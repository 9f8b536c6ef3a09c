from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluator import floors as floors_module
from components.evaluator.examples import read_eval_examples
from components.evaluator.floors import Floors, item_cosine
from components.evaluator.items import Items
from components.evaluator.training_log import read_training_log
from tests.components import evaluation_oracles as oracles
from tests.components.raw_examples import example, write_split

IDS = [f"i{i}" for i in range(9)]
TOPICS = {item: [f"t{n % 3}"] if n % 4 else [] for n, item in enumerate(IDS)}


def catalogue() -> Items:
    return Items([i.encode() for i in IDS], [[t.encode() for t in TOPICS[i]] for i in IDS])


_HISTORY = st.lists(st.sampled_from([*IDS, "gone"]), max_size=4)
_EVENT = st.tuples(st.sampled_from("abcd"), st.sampled_from([*IDS, "gone"]), _HISTORY)


@given(
    st.lists(_EVENT, min_size=1, max_size=25),
    st.lists(
        st.tuples(_HISTORY, st.lists(st.sampled_from(["t0", "t1", "t2", "t9"]), max_size=2)),
        min_size=1,
        max_size=4,
    ),
)
def test_floors_equal_those_of_plain_python(tmp_path_factory, train, asked):
    root = tmp_path_factory.mktemp("floors")
    write_split(root, "train", [example(user, target, history) for user, target, history in train])
    write_split(root, "eval", [example("z", "i0", history, follows) for history, follows in asked])
    items = catalogue()
    examples = read_eval_examples(str(root), items, 100, 0)
    got = Floors(read_training_log(str(root), items), items, 5).rank(examples, 3)
    scorers, popularity = oracles.floor_scores(train, IDS, TOPICS)
    for name in ("popularity", "item_cosine", "last_transition", "topic_popularity"):
        for row, (history, follows) in enumerate(asked):
            want = oracles.floor_list(scorers[name], popularity, IDS, history, follows, 5)
            found = [IDS[i] for i in got[name][row] if i >= 0]
            if name != "item_cosine":
                assert found == want, (name, history, follows)
                continue
            # Sums of cosines are not exact, so equal ones may come in any order.
            scores = [
                [scorers[name](item, history, follows) for item in listed]
                for listed in (found, want)
            ]
            assert len(set(found)) == len(found) == len(want)
            assert not set(found) & set(history)
            np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_item_cosine_keeps_only_the_nearest_of_large_catalogues(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        example(f"u{rng.integers(6)}", IDS[rng.integers(9)], [IDS[rng.integers(9)]])
        for _ in range(60)
    ]
    write_split(tmp_path, "train", rows)
    log = read_training_log(str(tmp_path), catalogue())
    whole = item_cosine(log, 9).toarray()
    assert (np.diag(whole) == 0).all()
    np.testing.assert_allclose(whole, whole.T, rtol=1e-5)
    monkeypatch.setattr(floors_module, "_ENTRIES_MAX", 0)
    monkeypatch.setattr(floors_module, "_NEIGHBOURS_MIN", 2)
    monkeypatch.setattr(floors_module, "_BLOCK_ITEMS", 4)
    pruned = item_cosine(log, 9).toarray()
    assert ((pruned > 0).sum(axis=1) <= 2).all()
    for row in range(9):
        kept = pruned[row][pruned[row] > 0]
        np.testing.assert_allclose(np.sort(kept), np.sort(whole[row])[-len(kept) :], rtol=1e-5)


def test_one_user_with_most_of_the_log_counts_only_in_part(monkeypatch, tmp_path):
    monkeypatch.setattr(floors_module, "USER_MAX_ITEMS", 2)
    write_split(tmp_path, "train", [example("u", item) for item in IDS])
    cosine = item_cosine(read_training_log(str(tmp_path), catalogue()), 9)
    assert cosine.nnz == 2


def test_the_training_log_knows_first_items_and_unseen_ones(tmp_path):
    write_split(tmp_path, "train", [example("u", "i1", ["i0", "i5"]), example("v", "gone", ["i2"])])
    log = read_training_log(str(tmp_path), catalogue())
    assert log.seen.tolist() == [i in (0, 1, 2) for i in range(9)]
    assert log.popularity.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert (log.previous.tolist(), log.target.tolist()) == ([0], [1])


def test_floors_learn_from_validation_too_but_new_items_are_new_to_training(tmp_path):
    write_split(tmp_path, "train", [example("u", "i1", ["i0"])])
    write_split(tmp_path, "validation", [example("u", "i4", ["i1"])])
    log = read_training_log(str(tmp_path), catalogue())
    assert log.popularity.tolist() == [0, 1, 0, 0, 1, 0, 0, 0, 0]
    assert log.target.tolist() == [1, 4]
    assert np.flatnonzero(log.seen).tolist() == [0, 1]
    refit = read_training_log(str(tmp_path), catalogue(), refit=True)
    assert refit.popularity.tolist() == log.popularity.tolist()
    assert np.flatnonzero(refit.seen).tolist() == [0, 1, 4]
    assert refit.events.tolist() == [1, 1, 0, 0, 1, 0, 0, 0, 0]


def test_floors_over_an_empty_training_split_rank_by_catalogue_order(tmp_path):
    write_split(tmp_path, "train", [])
    write_split(tmp_path, "eval", [example("z", "i0", ["i1"], ["t0"])])
    items = catalogue()
    examples = read_eval_examples(str(tmp_path), items, 10, 0)
    ranked = Floors(read_training_log(str(tmp_path), items), items, 4).rank(examples, 8)
    assert ranked["popularity"].tolist() == [[0, 2, 3, 4]]
    assert ranked["item_cosine"].tolist() == [[0, 2, 3, 4]]
    assert ranked["topic_popularity"].tolist() == [[3, 6, 0, 2]]


@pytest.mark.parametrize("size", [3, 50])
def test_the_sample_is_seeded_and_without_repetition(tmp_path, size):
    write_split(tmp_path, "eval", [example(f"u{i}", IDS[i % 9]) for i in range(20)])
    items = catalogue()
    first, again, other = (
        read_eval_examples(str(tmp_path), items, size, seed) for seed in (1, 1, 2)
    )
    assert len(first) == min(size, 20)
    np.testing.assert_array_equal(first.target, again.target)
    assert first.table.equals(again.table)
    assert np.array_equal(first.target, other.target) == (size == 50)
