"""Faults of the index and the merge (46, 47, 49, 68, 69)."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.protobuf import saved_model_pb2

from components.config import IndexConfig
from components.index_builder.build import choose_kind
from components.index_builder.catalogue import check_catalogue
from components.index_builder.tuning import SCANN_MIN_ITEMS, recall, tune_scann
from core.errors import IndexQualityError
from tests.components import retrieval_world as world
from tests.trainer.retrieval.fake_model import request, unit
from trainer.retrieval import merge
from trainer.retrieval.search import ExactSearch
from trainer.retrieval.signature import bind


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """An exact index that brings seen items too."""
    root = tmp_path_factory.mktemp("world")
    world.write_world(root, n_eval=4)
    return world.build(root, exclude_seen=False, topic_filter=False)


def vectors(count: int, dim: int = 8) -> np.ndarray:
    return unit(np.random.default_rng(count).normal(size=(count, dim)))


@pytest.mark.fault(46)
@given(
    ids=st.lists(st.sampled_from([b"a", b"b", b"c", b""]), max_size=4),
    bad=st.sampled_from([None, np.nan, np.inf, -np.inf, 0.0]),
)
def test_ids_and_vectors_are_either_sound_or_refused_by_name(ids, bad):
    matrix = np.ones((len(ids), 2), np.float32)
    if bad is not None:
        matrix[-1:] = bad
    sound = ids and len(set(ids)) == len(ids) and b"" not in ids and np.isfinite(matrix).all()
    if sound and matrix.any():
        check_catalogue(ids, matrix)
        return
    with pytest.raises(IndexQualityError, match="item"):
        check_catalogue(ids, matrix)


@pytest.mark.fault(46)
@pytest.mark.parametrize("items", [1, 15, SCANN_MIN_ITEMS - 1])
def test_too_few_items_for_scann_are_searched_exactly_and_the_log_says_so(items, caplog):
    with caplog.at_level(logging.WARNING, "tessera"):
        assert choose_kind(IndexConfig(kind="scann"), items) == "exact"
    assert f"{items} items are fewer than the {SCANN_MIN_ITEMS} it needs" in caplog.text
    own = vectors(items)
    rows, _ = ExactSearch(tf.Variable(own)).search(tf.constant(own), tf.constant(items + 5))
    assert sorted(rows.numpy()[0].tolist()) == [-1] * 5 + list(range(items))


@pytest.mark.fault(46)
@pytest.mark.parametrize("items", [SCANN_MIN_ITEMS, SCANN_MIN_ITEMS + 1, 150])
def test_fewer_items_than_neighbours_or_usual_leaves_are_indexed(items):
    own = vectors(items)
    search, parameters, reached, _ = tune_scann(own, own[:20], 0.95, depth=500)
    assert parameters.num_leaves <= items
    assert reached >= 0.95
    rows, scores = search.search(tf.constant(own), tf.constant(500))
    assert rows.shape == (items, 500)
    assert ((rows.numpy() >= 0) == np.isfinite(scores.numpy())).all()


@pytest.mark.fault(47)
def test_every_item_is_the_first_result_for_its_own_vector(index):
    served = bind(tf.saved_model.load(str(index / "retriever")), "retrieve")
    # The model embeds a user of one item as that item.
    answer = served(**request([[item] for item in world.IDS], [[] for _ in world.IDS]))
    assert [name.decode() for name in answer["item_id"][:, 0].numpy()] == world.IDS
    np.testing.assert_allclose(answer["score"][:, 0], 1.0, rtol=1e-5)


@pytest.mark.fault(47)
def test_what_the_gate_calls_recall_is_the_share_of_the_exact_neighbours():
    own, asked = vectors(900), vectors(30)
    search, _, reached, _ = tune_scann(own, asked, 0.8)
    found = search.search(tf.constant(asked), tf.constant(100))[0].numpy()
    truth = np.argsort(-(asked @ own.T), axis=1)[:, :100]
    assert reached == pytest.approx(recall(found, truth))
    assert reached >= 0.8


@pytest.mark.fault(49)
def test_the_model_that_stock_servers_load_has_stock_operations_only(index):
    saved = saved_model_pb2.SavedModel.FromString(
        (index / "retriever" / "saved_model.pb").read_bytes()
    )
    (graph,) = saved.meta_graphs
    nodes = list(graph.graph_def.node)
    for function in graph.graph_def.library.function:
        nodes += function.node_def
    used = {node.op for node in nodes}
    defined = {function.signature.name for function in graph.graph_def.library.function}
    assert not [op for op in used if ">" in op]  # namespaces are of other libraries
    known = {name for name in dir(tf.raw_ops) if not name.startswith("_")}
    assert used - defined - known <= {"_UnaryOpsComposition"}, used - defined - known


_CANDIDATES = st.lists(
    st.tuples(st.integers(-1, 9), st.sampled_from([1.0, 0.5, float("nan")])), max_size=6
)


@pytest.mark.fault(68, 69)
@given(slots=st.lists(_CANDIDATES, min_size=1, max_size=4), n=st.integers(1, 8))
@pytest.mark.parametrize("rule", ["round_robin", "score"])
def test_merged_lists_are_distinct_stable_and_grow_with_n(rule, slots, n):
    """Ties and NaN included; seen items never; the first k of a longer list are the list of k."""
    width = max(len(slot) for slot in slots) + 1
    rows = np.full((1, len(slots), width), -1, np.int32)
    scores = np.full(rows.shape, -np.inf, np.float32)
    for place, slot in enumerate(slots):
        distinct = list({row: (row, score) for row, score in slot}.values())
        distinct.sort(key=lambda pair: -np.nan_to_num(pair[1]))
        for rank, (row, score) in enumerate(distinct):
            rows[0, place, rank], scores[0, place, rank] = row, score
    seen = tf.constant([[3, -1]])
    budgets = tf.constant([[2] * len(slots)])

    def merged(limit):
        if rule == "score":
            return merge.best_score(tf.constant(rows), tf.constant(scores), limit, seen)
        return merge.round_robin(tf.constant(rows), tf.constant(scores), budgets, limit, seen)

    first, again, longer = merged(n), merged(n), merged(n + 3)
    items = first.row[0, : int(first.count[0])].numpy().tolist()
    union = set(rows[(rows >= 0) & np.isfinite(scores)].tolist()) - {3}
    assert len(set(items)) == len(items) == min(n, len(union))
    assert set(items) <= union
    assert items == again.row[0, : len(items)].numpy().tolist()
    assert items == longer.row[0, : len(items)].numpy().tolist()
