"""The served graph against a plain Python retrieval with the same embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from core.errors import ExportError
from tests.markers import nightly
from tests.trainer.retrieval.fake_model import request
from tests.trainer.retrieval.plain import (
    IDS,
    ITEM_TOPICS,
    ITEMS,
    assert_same_but_for_ties,
    plain_retrieval,
)
from trainer.config import RetrievalConfig
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.search import ScannParameters, ScannSearch
from trainer.retrieval.signature import SIGNATURES, bind

HISTORIES = [["i3", "i9", "i3"], [], ["gone"], [f"i{i}" for i in range(20)], ["i1", "i1"]]
FOLLOWS = [["t1"], ["t0", "t4"], ["nope"], [], ["t2", "t1", "t0"]]


def retrieve(model, vectors, asked, **config):
    retriever = Retriever(model, IDS, ITEM_TOPICS, vectors, RetrievalConfig(**config))
    return {name: value.numpy() for name, value in retriever.retrieve(**asked).items()}


@pytest.mark.parametrize("merge", ["balanced", "round_robin", "score"])
@pytest.mark.parametrize("topic_filter", [True, False])
@pytest.mark.parametrize(
    ("exclude_seen", "num_results"), [(True, 10), (False, 100), *nightly([False, 10], [True, 100])]
)
def test_retrieval_equals_plain_python(
    model, vectors, merge, topic_filter, exclude_seen, num_results
):
    config = RetrievalConfig(
        num_results=num_results, merge=merge, topic_filter=topic_filter, exclude_seen=exclude_seen
    )
    asked = request(HISTORIES, FOLLOWS)
    got = retrieve(model, vectors, asked, **config.model_dump())
    for user, want in enumerate(plain_retrieval(model, vectors, asked, config)):
        count = got["count"][user]
        assert count == len(want)
        assert_same_but_for_ties(
            got["item_id"][user, :count],
            got["slot"][user, :count],
            got["score"][user, :count],
            want,
        )
        np.testing.assert_allclose(got["score"][user, :count], [s for _, s, _ in want], rtol=1e-5)
        assert (got["item_id"][user, count:] == b"").all()
        assert (got["slot"][user, count:] == -1).all()


def test_every_result_tells_its_reason(model, vectors):
    asked = request([["i3", "i9"]], [["t1"]])
    got = retrieve(model, vectors, asked, num_results=10, merge="round_robin")
    kinds, topics, slots = got["slot_kind"][0], got["slot_topic"][0], got["slot"][0]
    assert set(kinds.tolist()) == {0, 1}
    assert set(topics[kinds == 1].tolist()) == {b"t1"}
    assert set(topics[kinds == 0].tolist()) == {b""}
    explicit_items = [IDS.index(item) for item in got["item_id"][0][kinds == 1]]
    assert all(b"t1" in ITEM_TOPICS[row] for row in explicit_items)
    assert got["history_slot"].tolist() == [[0, 1]]
    assert set(slots[kinds == 0].tolist()) == {0, 1}


def test_seen_items_leave_room_for_a_full_list(model, vectors):
    seen = [f"i{i}" for i in range(40)]
    got = retrieve(model, vectors, request([seen], [[]]), num_results=20)
    assert got["count"].tolist() == [20]
    assert not set(got["item_id"][0].tolist()) & {s.encode() for s in seen}


def test_a_user_who_saw_everything_gets_an_empty_list(model, vectors):
    got = retrieve(model, vectors, request([[i.decode() for i in IDS]], [["t1"]]), num_results=5)
    assert got["count"].tolist() == [0]


@pytest.mark.parametrize("batch", [0, 1, 64])
def test_any_batch_size_and_each_user_is_answered_alone(model, vectors, batch):
    histories = [HISTORIES[i % 5] for i in range(batch)]
    follows = [FOLLOWS[i % 5] for i in range(batch)]
    got = retrieve(model, vectors, request(histories, follows), num_results=10)
    assert {len(value) for value in got.values()} == {batch}
    assert got["item_id"].shape == (batch, 10 if batch else 0)
    for user in range(min(batch, 5)):
        alone = retrieve(
            model, vectors, request([histories[user]], [follows[user]]), num_results=10
        )
        assert alone["item_id"].tolist() == got["item_id"][[user]].tolist()


def test_histories_without_columns_are_answered(model, vectors):
    got = retrieve(model, vectors, request([[], []], [[], []]), num_results=10)
    assert got["count"].tolist() == [10, 10]
    assert got["history_slot"].shape == (2, 0)


def test_a_slot_that_is_not_finite_is_left_out(model, vectors):
    class Broken(tf.Module):
        def embed_user(self, **user):
            slots = dict(model.embed_user(**user))
            first = tf.one_hot(0, tf.shape(slots["embeddings"])[1])[None, :, None]
            slots["embeddings"] += tf.where(first > 0, np.float32("nan"), 0.0)
            return slots

    got = retrieve(Broken(), vectors, request([["i3", "i9"]], [["t1"]]), num_results=10)
    assert got["count"].tolist() == [10]
    assert 0 not in got["slot"][0]
    assert np.isfinite(got["score"]).all()
    assert got["slot_valid"][0, :2].tolist() == [False, True]


def test_ids_and_vectors_of_different_number_are_refused(model, vectors):
    with pytest.raises(ExportError, match="same items in the same order"):
        Retriever(model, IDS[:-1], ITEM_TOPICS, vectors, RetrievalConfig())


@pytest.mark.fault(49)
def test_saved_and_loaded_it_answers_the_same_with_stock_operations(model, vectors, tmp_path):
    retriever = Retriever(model, IDS, ITEM_TOPICS, vectors, RetrievalConfig(num_results=10))
    save_retriever(retriever, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    asked = request(HISTORIES, FOLLOWS)
    before, after = retriever.retrieve(**asked), bind(loaded, "serving_default")(**asked)
    assert set(before) == set(after)
    for name, value in before.items():
        np.testing.assert_array_equal(value.numpy(), after[name].numpy())
    assert set(loaded.signatures) == {"serving_default", *SIGNATURES}
    user = loaded.signatures["embed_user"](**asked)
    np.testing.assert_array_equal(user["embeddings"], model.embed_user(**asked)["embeddings"])
    items = loaded.signatures["embed_items"](
        item_id=tf.constant(IDS), item_topics=tf.zeros([ITEMS, 1], tf.string)
    )
    np.testing.assert_array_equal(items["embeddings"], vectors)
    assert not [op for op in operations(tmp_path / "saved") if op.startswith("Scann>")]


def test_with_scann_it_answers_nearly_the_same_from_its_own_saved_model(model, vectors, tmp_path):
    scann = ScannSearch.build(vectors, ScannParameters(4, 4, 60))
    arguments = (model, IDS, ITEM_TOPICS, vectors, RetrievalConfig(num_results=10))
    retriever = Retriever(*arguments, searcher=lambda _: scann)
    save_retriever(retriever, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    asked = request(HISTORIES, FOLLOWS)
    got = bind(loaded, "retrieve")(**asked)["item_id"].numpy()
    exact = Retriever(*arguments)
    want = exact.retrieve(**asked)["item_id"].numpy()
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(got, want, strict=True)]) > 0.95
    empty = bind(loaded, "retrieve")(**request([], []))
    assert empty["item_id"].shape == (0, 0)
    assert [op for op in operations(tmp_path / "saved") if op.startswith("Scann>")]


@pytest.mark.parametrize("topic_filter", [True, False])
def test_over_an_index_only_the_topic_filter_keeps_vectors(model, vectors, tmp_path, topic_filter):
    scann = ScannSearch.build(vectors, ScannParameters(4, 4, 60))
    config = RetrievalConfig(num_results=10, topic_filter=topic_filter)
    retriever = Retriever(model, IDS, ITEM_TOPICS, vectors, config, searcher=lambda _: scann)
    save_retriever(retriever, str(tmp_path / "saved"))
    saved = dict(tf.train.list_variables(str(tmp_path / "saved/variables/variables")))
    entries = sum(len(set(topics)) for topics in ITEM_TOPICS)
    own = [shape for name, shape in saved.items() if name.startswith("selector/")]
    assert own.count([ITEMS, 8]) == 1  # ScaNN's
    assert own.count([entries, 8]) == topic_filter


def operations(path) -> set[str]:
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    names = {node.op for node in graph.node}
    return names | {node.op for function in graph.library.function for node in function.node_def}
