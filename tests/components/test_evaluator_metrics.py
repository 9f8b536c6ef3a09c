from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from components.config import EvaluatorConfig
from components.evaluator import metrics
from components.evaluator.comparison import paired_bootstrap
from components.evaluator.items import PAD, UNKNOWN, Items
from components.evaluator.slices import make_slices, slice_metrics
from tests.components import evaluation_oracles as oracles

KS = (1, 3, 5)
ITEMS = 8


@st.composite
def rankings(draw):
    """Lists over 8 items with pads at the end, targets (some outside), topics of the items."""
    count = draw(st.integers(1, 5))
    lists = [draw(st.permutations(range(ITEMS)))[: draw(st.integers(0, 6))] for _ in range(count)]
    targets = [draw(st.integers(-2, ITEMS - 1)) for _ in range(count)]
    topics = {i: sorted(draw(st.sets(st.integers(0, 3), max_size=3))) for i in range(ITEMS)}
    return lists, targets, topics


def topic_matrix(topics: dict) -> sparse.csr_matrix:
    dense = np.zeros((ITEMS, 4), np.float32)
    for item, names in topics.items():
        dense[item, names] = 1
    return sparse.csr_matrix(dense)


@given(rankings())
def test_metrics_equal_those_of_plain_python(case):
    lists, targets, topics = case
    padded = np.full((len(lists), 6), PAD, np.int32)
    for row, found in enumerate(lists):
        padded[row, : len(found)] = found
    got = metrics.summarise(padded, np.array(targets), topic_matrix(topics), KS)
    keys = [t if t >= 0 else f"not there {i}" for i, t in enumerate(targets)]
    want = oracles.metrics([list(found) for found in lists], keys, topics, ITEMS, list(KS))
    want["coverage"] = want["coverage@5"]
    assert got == pytest.approx(want)


def test_hand_computed_values():
    lists = np.array([[4, 2, 0], [1, 3, PAD], [5, 6, 7]], np.int32)
    ranks = metrics.target_ranks(lists, np.array([2, 1, 0]))
    assert ranks.tolist() == [2, 1, 0]
    values = metrics.per_example(ranks, (1, 3))
    assert values["recall@1"].tolist() == [0, 1, 0]
    assert values["ndcg@3"].tolist() == pytest.approx([0.6309297, 1, 0])
    assert values["mrr"].tolist() == [0.5, 1, 0]


def test_targets_outside_the_catalogue_match_neither_pads_nor_unknown_items():
    lists = np.array([[PAD, UNKNOWN], [UNKNOWN, PAD]])
    assert metrics.target_ranks(lists, np.array([PAD, UNKNOWN])).tolist() == [0, 0]


def test_without_examples_averages_are_not_numbers():
    got = metrics.summarise(np.zeros((0, 3), int), np.zeros(0, int), topic_matrix({}), (1,))
    assert np.isnan(got["recall@1"])
    assert got["coverage@1"] == 0.0


def test_curves_rise_and_end_at_the_depth():
    ranks = np.array([1, 4, 0, 20])
    curve = metrics.recall_curve(ranks, 20)
    assert curve["k"] == [1, 2, 5, 10, 20]
    assert curve["recall"] == [0.25, 0.25, 0.5, 0.5, 0.75]
    lists = np.arange(8)[None, :]
    topics = metrics.topic_curve(lists, topic_matrix({i: [i % 3] for i in range(8)}), 8)
    assert topics["distinct_topics"] == [1, 2, 3, 3]


def test_ids_become_rows_pads_and_unknowns():
    items = Items([b"a", b"b"], [[b"x"], [b"y", b"x"]])
    assert items.rows([[b"b", b""], [b"zz", b"a"]]).tolist() == [[1, PAD], [UNKNOWN, 0]]
    assert items.topics.toarray().tolist() == [[1, 0], [1, 1]]
    assert items.topic_columns([b"y", b"nope"]) == [1]


def test_slices_cover_every_example_once():
    history = np.array([0, 1, 2, 3, 10, 60])
    follows = np.array([0, 1, 2, 3, 9, 0])
    new = np.array([True, False, False, False, False, False])
    slices = make_slices(history, follows, new)
    for masks in slices.values():
        assert (np.sum(list(masks.values()), axis=0) == 1).all()
    assert slices["activity"]["core"].tolist() == [False, False, False, True, True, True]
    assert slices["activity"]["non_core"].tolist() == [False, True, True, False, False, False]
    assert "11-20" not in slices["history_length"]
    figures = slice_metrics(slices, {"recall@1": np.array([1.0, 0, 0, 0, 1, 1])})
    assert figures["activity"]["new"] == {"n": 1, "recall@1": 1.0}
    assert figures["follows"]["3+"] == {"n": 2, "recall@1": 0.5}


def test_bootstrap_interval_holds_the_difference_and_knows_equality():
    rng = np.random.default_rng(0)
    before = (rng.random(2000) < 0.3).astype(float)
    after = np.maximum(before, rng.random(2000) < 0.1)
    got = paired_bootstrap(after, before, seed=1)
    assert got["low"] > 0
    assert got["low"] < got["difference"] < got["high"]
    assert got["difference"] == pytest.approx(after.mean() - before.mean())
    assert paired_bootstrap(after, before, seed=1) == got
    same = paired_bootstrap(before, before, seed=1)
    assert (same["difference"], same["low"], same["high"]) == (0.0, 0.0, 0.0)
    # The normal interval of the mean difference is the second opinion.
    spread = 1.96 * (after - before).std() / np.sqrt(2000)
    assert got["high"] - got["low"] == pytest.approx(2 * spread, rel=0.15)


def test_the_configuration_knows_the_name_of_every_metric():
    config = EvaluatorConfig(ks=(3, 100))
    nothing = np.zeros((1, 100), np.int32), np.zeros(1, np.int32), sparse.csr_matrix((1, 1))
    assert set(config.metric_names()) == set(metrics.summarise(*nothing, config.ks))
