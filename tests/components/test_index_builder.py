"""The index builder's files, checks (faults 46 and 47) and its choice of ScaNN parameters."""

from __future__ import annotations

import json
import logging

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.config import IndexConfig
from components.index_builder import layout, tuning
from components.index_builder.alignment import check_alignment
from components.index_builder.build import IndexPaths, build_index, choose_kind
from components.index_builder.catalogue import Catalogue, embed_catalogue
from components.index_builder.native import load_native
from components.index_builder.tuning import recall, search_grid, tune_scann
from core.errors import IndexQualityError
from tests.components import retrieval_world as world
from tests.components.raw_examples import corpus_item, write_split
from tests.trainer.retrieval.fake_model import unit
from trainer.config import RetrievalConfig
from trainer.retrieval.signature import bind


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("world")
    world.write_world(path)
    return path


@pytest.fixture(scope="module")
def exact(root):
    return world.build(root, "exact")


@pytest.fixture(scope="module")
def scann(root):
    return world.build(root, "scann_index", kind="scann")


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_an_exact_index_holds_the_promised_files(exact):
    assert names(exact) == {"retriever", "items.parquet", "item_embeddings.npy", "index.json"}
    description = json.loads((exact / "index.json").read_text())
    assert description["kind"] == "exact"
    assert description["serve"] == "retriever"
    assert description["items"] == world.ITEMS
    assert description["recall_vs_exact"] == 1.0
    assert description["bytes"] > 0


def test_ids_topics_and_vectors_are_those_of_the_corpus_in_one_order(exact):
    items = pq.read_table(exact / "items.parquet").to_pydict()
    assert items["item_id"] == world.IDS
    assert items["topics"] == world.ITEM_TOPICS
    np.testing.assert_array_equal(
        np.load(exact / "item_embeddings.npy"), world.fake_model().item_vectors[: world.ITEMS]
    )


def test_a_scann_index_adds_its_retriever_and_the_native_index(scann):
    assert names(scann) >= {"retriever", "retriever_scann", "scann"}
    description = json.loads((scann / "index.json").read_text())
    assert description["kind"] == "scann"
    assert description["serve"] == "retriever_scann"
    assert description["recall_vs_exact"] >= 0.9
    assert description["recall_query_source"] == "users"
    assert description["tried"][-1]["recall"] == description["recall_vs_exact"]


def test_the_native_index_answers_after_it_was_moved(scann, tmp_path):
    moved = tmp_path / "elsewhere"
    (scann / "scann").rename(moved)
    try:
        assert str(scann) not in (moved / "scann_assets.pbtxt").read_text()
        vectors = np.load(scann / "item_embeddings.npy")
        rows, _ = load_native(moved).search_batched(vectors, final_num_neighbors=1)
        assert (rows[:, 0] == np.arange(len(vectors))).mean() > 0.9
    finally:
        moved.rename(scann / "scann")


def test_batches_of_any_size_give_the_same_vectors(root):
    model = tf.saved_model.load(str(root / "model"))
    small, large = (embed_catalogue(model, str(root / "examples"), size) for size in (7, 1000))
    assert small.ids == large.ids
    np.testing.assert_array_equal(small.embeddings, large.embeddings)


def refuse(root, tmp_path, corpus, message):
    write_split(tmp_path / "examples", "corpus", corpus)
    paths = IndexPaths(str(root / "model"), str(tmp_path / "examples"), str(tmp_path / "index"))
    with pytest.raises(IndexQualityError, match=message):
        build_index(paths, IndexConfig(), RetrievalConfig(num_results=5))
    assert not (tmp_path / "index" / "index.json").exists()


@pytest.mark.fault(46)
def test_an_item_that_occurs_twice_is_refused_by_name(root, tmp_path):
    corpus = [corpus_item(i, []) for i in ("i1", "i2", "i1")]
    refuse(root, tmp_path, corpus, "1 item ids occur more than once.*'i1' x2")


@pytest.mark.fault(46)
def test_an_empty_corpus_is_refused(root, tmp_path):
    refuse(root, tmp_path, [], "no items")


def test_an_empty_id_is_refused(root, tmp_path):
    refuse(root, tmp_path, [corpus_item("", []), corpus_item("i1", [])], "empty id")


class _Model:
    """Returns given vectors for items named by number."""

    def __init__(self, vectors):
        self.vectors = tf.constant(vectors, tf.float32)

    def embed_items(self, item_id, item_topics):
        return {"embeddings": tf.gather(self.vectors, tf.strings.to_number(item_id, tf.int32))}


@pytest.mark.fault(17, 46)
@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, 0.0], [np.nan, 1.0]], "1 of 2 item vectors are not finite.*'1'"),
        ([[1.0, np.inf], [0.0, 1.0]], "1 of 2 item vectors are not finite.*'0'"),
        ([[0.0, 0.0], [0.0, 0.0]], "all 2 item vectors are zero"),
    ],
)
def test_vectors_that_can_not_be_searched_are_refused(tmp_path, vectors, message):
    write_split(tmp_path, "corpus", [corpus_item("0", []), corpus_item("1", [])])
    with pytest.raises(IndexQualityError, match=message):
        embed_catalogue(_Model(vectors), str(tmp_path), 10)


@pytest.mark.fault(47)
def test_every_item_finds_itself_and_shifted_vectors_are_noticed():
    vectors = unit(np.random.default_rng(0).normal(size=(50, 8))) * np.linspace(0.1, 9, 50)[:, None]
    ids, topics = [str(i).encode() for i in range(50)], [[] for _ in range(50)]
    model = _Model(vectors)
    assert check_alignment(model, Catalogue(ids, topics, vectors.astype(np.float32))) == 50
    shifted = Catalogue(ids, topics, np.roll(vectors, 1, axis=0).astype(np.float32))
    with pytest.raises(IndexQualityError, match=r"do not find themselves.*b'0' found b'1'"):
        check_alignment(model, shifted)


def test_items_with_equal_vectors_may_find_each_other():
    vectors = np.ones((3, 4), np.float32)
    check_alignment(_Model(vectors), Catalogue([b"0", b"1", b"2"], [[], [], []], vectors))


@pytest.mark.parametrize(
    ("kind", "items", "chosen"),
    [
        ("auto", 19_999, "exact"),
        ("auto", 20_000, "scann"),
        ("exact", 10**6, "exact"),
        ("scann", 64, "scann"),
        ("scann", 20, "exact"),
    ],
)
def test_kind_follows_configuration_and_size(kind, items, chosen, caplog):
    with caplog.at_level(logging.WARNING, "tessera"):
        assert choose_kind(IndexConfig(kind=kind), items) == chosen
    assert bool(caplog.records) == (kind == "scann" and chosen == "exact")


@pytest.mark.fault(46)
def test_a_catalogue_smaller_than_the_results_is_answered_in_full(root, tmp_path):
    write_split(tmp_path / "examples", "corpus", [corpus_item(f"i{i}", []) for i in range(5)])
    paths = IndexPaths(str(root / "model"), str(tmp_path / "examples"), str(tmp_path / "index"))
    assert (
        build_index(paths, IndexConfig(kind="scann"), RetrievalConfig(num_results=9))["kind"]
        == "exact"
    )
    loaded = tf.saved_model.load(str(tmp_path / "index" / "retriever"))
    from tests.trainer.retrieval.fake_model import request

    answer = bind(loaded, "retrieve")(**request([["i1"]], [[]]))
    assert answer["count"].numpy().tolist() == [4]


def test_recall_counts_common_rows_and_never_pads():
    found = np.array([[1, 2, -1], [4, 5, 6]])
    truth = np.array([[1, 3, 2], [7, 8, -1]])
    assert recall(found, truth) == pytest.approx(2 / 5)


def test_the_grid_is_cheapest_first_and_ends_with_an_exhaustive_search():
    grid = search_grid(100_000, 64, 316)
    costs = [tuning.estimated_cost(100_000, 64, parameters) for parameters in grid]
    assert costs == sorted(costs)
    assert grid[-1].leaves_to_search == 316
    assert {p.leaves_to_search for p in search_grid(70, 8, 3)} <= {1, 2, 3}


@pytest.mark.parametrize(("items", "depth"), [(100_000, 500), (100_000, 3000), (300, 500)])
def test_as_many_are_reordered_as_requests_ask_for(items, depth):
    grid = search_grid(items, 64, 17, depth)
    assert {p.reorder for p in grid} >= {min(items, depth)}
    assert min(p.reorder for p in grid) == min(items, depth)


def test_the_chosen_parameters_are_the_first_of_the_grid_that_reach_the_target():
    rng = np.random.default_rng(0)
    vectors, queries = unit(rng.normal(size=(3000, 16))), unit(rng.normal(size=(40, 16)))
    _, parameters, reached, tried = tune_scann(vectors, queries, 0.9)
    assert reached >= 0.9
    assert all(attempt["recall"] < 0.9 for attempt in tried[:-1])
    assert tried[-1]["num_leaves"] == parameters.num_leaves
    _, again, _, _ = tune_scann(vectors, queries, 0.9)
    assert again == parameters


@pytest.mark.fault(47)
def test_a_recall_out_of_reach_names_the_best_that_was_reached(monkeypatch):
    monkeypatch.setattr(tuning, "_REORDER", (100,))
    vectors = unit(np.random.default_rng(0).normal(size=(2000, 32)))
    with pytest.raises(IndexQualityError, match=r"best recall@100 .* is 0\.\d+.*recall_target=1.0"):
        tune_scann(vectors, vectors[:20], 1.0)


def test_a_large_catalogue_is_searched_in_parts_by_the_stock_model(root, tmp_path):
    index = tmp_path / "index"
    settings = IndexConfig(kind="scann", partition_min_items=world.ITEMS, recall_target=0.9)
    summary = build_index(
        IndexPaths(str(root / "model"), str(root / "examples"), str(index)),
        settings,
        RetrievalConfig(num_results=9),
    )
    assert summary["stock"]["kind"] == "partitioned"
    assert summary["stock"]["recall_vs_exact"] >= 0.9
    assert 1 <= summary["stock"]["probed"] <= summary["stock"]["parts"] == 9
    from tests.trainer.retrieval.fake_model import request

    answer = bind(tf.saved_model.load(str(index / "retriever")), "retrieve")(
        **request([["i1", "i2"]], [["t1"]])
    )
    assert answer["count"].numpy().tolist() == [9]


def test_without_users_items_stand_in_as_queries(root, tmp_path):
    corpus = [corpus_item(i, t) for i, t in zip(world.IDS, world.ITEM_TOPICS, strict=True)]
    write_split(tmp_path / "examples", "corpus", corpus)
    paths = IndexPaths(str(root / "model"), str(tmp_path / "examples"), str(tmp_path / "index"))
    summary = build_index(
        paths, IndexConfig(kind="scann", recall_target=0.5), RetrievalConfig(num_results=9)
    )
    assert summary["recall_query_source"] == "items"
    assert summary["serve"] == layout.SCANN_RETRIEVER
