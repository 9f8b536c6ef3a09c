"""An index with a delta answers as an index of the new catalogue does, on every kind of index."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ExportError
from tests.trainer.retrieval.fake_model import request, unit
from tests.trainer.retrieval.plain import (
    IDS,
    ITEM_TOPICS,
    ITEMS,
    TOPICS,
    assert_same_but_for_ties,
    plain_retrieval,
)
from tests.trainer.retrieval.test_filters import (
    ATTRIBUTES,
    CREATED,
    FOLLOWS,
    HISTORIES,
    REGION_OF,
    SEARCHERS,
)
from trainer.config import RetrievalConfig
from trainer.retrieval import delta as delta_module
from trainer.retrieval.delta import DELTA_ASSET, DeltaItems, Texts, no_items, write_delta
from trainer.retrieval.filters import Attributes
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.search import ExactSearch
from trainer.retrieval.signature import bind

pytestmark = pytest.mark.slow("traces whole retrievers over every kind of index")

CONFIG = RetrievalConfig(
    num_results=12, filters=("topics", "region", "created_at"), delta=True, explore_share=0.0
)
COLUMNS = CONFIG.filter_columns()
#: Rows of the index; from `OLD` on their vectors, topics and attributes are those of yesterday.
INDEXED, OLD = 45, 32


def yesterday(vectors: np.ndarray) -> tuple[list, np.ndarray, Attributes]:
    """Returns topics, vectors and attributes of the index."""
    old = unit(np.random.default_rng(5).normal(size=(INDEXED - OLD, vectors.shape[1])))
    topics = [*ITEM_TOPICS[:OLD], *[[TOPICS[0]]] * (INDEXED - OLD)]
    region = [[name] if name else [] for name in REGION_OF[:OLD]] + [[b"de"]] * (INDEXED - OLD)
    created = np.concatenate([CREATED[:OLD], np.full(INDEXED - OLD, 1040.0)])
    attributes = Attributes({"topics": topics, "region": region}, {"created_at": created})
    return topics, np.concatenate([vectors[:OLD], old]), attributes


def changes(vectors: np.ndarray, wanted: set[int], again: set[int]) -> DeltaItems:
    """Returns the delta that makes the index the catalogue of some rows, as they are today.

    Args:
      vectors: of all items.
      wanted: rows of the new catalogue.
      again: rows that are in the delta although they did not change.
    """
    rows = [row for row in sorted(wanted) if row >= OLD or row in again]
    gone = [row for row in range(INDEXED) if row not in wanted or row in rows]
    texts = {name: [values[row] for row in rows] for name, values in ATTRIBUTES.texts.items()}
    return DeltaItems(
        [IDS[row] for row in rows],
        Texts.of([ITEM_TOPICS[row] for row in rows]),
        vectors[rows],
        np.array(gone, np.int32),
        Attributes(texts, {"created_at": CREATED[rows]}),
    )


def written(items: DeltaItems, folder: Path) -> str:
    path = folder / DELTA_ASSET
    write_delta(items, COLUMNS, path)
    return str(path)


#: The others of these at night; tests/pipeline/test_refresh_delta.py has a search of all rows.
BY_DAY = ("scann",)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=() if name in BY_DAY else pytest.mark.nightly)
        for name in SEARCHERS
    ],
)
def indexed(request, model, vectors, tmp_path_factory):
    folder = tmp_path_factory.mktemp("delta")
    topics, old, attributes = yesterday(vectors)
    empty = written(no_items(vectors.shape[1], COLUMNS), folder)
    made = Retriever(
        model,
        IDS[:INDEXED],
        topics,
        old,
        CONFIG,
        SEARCHERS[request.param],
        attributes,
        delta=empty,
    )
    return made, made.signatures(), folder


CATALOGUES = st.sets(st.integers(0, ITEMS - 1), min_size=1) | st.just(set(range(ITEMS)))
CONDITIONS = st.sampled_from([b"", b"region=de", b"topics=t1", b"created_at>=1030"])


def fits(row: int, condition: bytes) -> bool:
    return {
        b"": True,
        b"region=de": REGION_OF[row] == b"de",
        b"topics=t1": b"t1" in ITEM_TOPICS[row],
        b"created_at>=1030": bool(CREATED[row] >= 1030),
    }[condition]


@given(CATALOGUES, st.sets(st.integers(0, OLD - 1), max_size=5), CONDITIONS)
def test_the_answer_is_that_of_an_index_built_anew(
    indexed, model, vectors, wanted, again, condition
):
    retriever, signatures, folder = indexed
    retriever.delta.load(written(changes(vectors, wanted, again & wanted), folder))
    asked = request(HISTORIES, FOLLOWS)
    plain = signatures["retrieve"](**asked)
    filtered = signatures["retrieve_filtered"](**asked, filter=tf.constant([[condition]]))
    for got, rows in (
        (plain, wanted),
        (filtered, {row for row in wanted if fits(row, condition)}),
    ):
        expected = plain_retrieval(model, vectors, asked, CONFIG, [rows] * len(HISTORIES))
        for user, want in enumerate(expected):
            count = int(got["count"][user])
            assert count == len(want)
            found = (got[name][user, :count].numpy() for name in ("item_id", "slot", "score"))
            assert_same_but_for_ties(*found, want)


@given(CATALOGUES, st.integers(0, ITEMS - 1))
def test_neighbours_and_scores_are_those_of_the_new_catalogue(indexed, vectors, wanted, row):
    retriever, signatures, folder = indexed
    retriever.delta.load(written(changes(vectors, wanted, set()), folder))
    item = tf.constant([IDS[row]])
    near = signatures["similar_items"](
        item_id=item, item_topics=tf.constant([[""]]), num_results=tf.constant([5])
    )
    others = sorted(wanted - {row})
    best = sorted(vectors[others] @ vectors[row], reverse=True)[:5]
    assert bool(near["known"][0]) == (row in wanted)
    assert set(near["item_id"][0, : int(near["count"][0])].numpy()) <= {IDS[r] for r in others}
    np.testing.assert_allclose(near["score"][0, : len(best)], best, rtol=1e-5, atol=1e-6)
    scored = signatures["score_items"](
        {**request([["i3"]], [[]]), "item_id": tf.constant([[IDS[row], b"unknown"]])}
    )
    assert scored["known"].numpy().tolist() == [[row in wanted, False]]
    if row in wanted:
        assert float(scored["score"][0, 0]) == pytest.approx(
            float(vectors[row] @ vectors[3]), abs=1e-5
        )


def test_an_empty_delta_changes_nothing(indexed, model, vectors):
    retriever, signatures, folder = indexed
    retriever.delta.load(written(no_items(vectors.shape[1], COLUMNS), folder))
    topics, old, attributes = yesterday(vectors)
    without = Retriever(model, IDS[:INDEXED], topics, old, CONFIG, ExactSearch, attributes)
    asked = request(HISTORIES, FOLLOWS)
    got, want = signatures["retrieve"](**asked), without.retrieve(**asked)
    np.testing.assert_array_equal(got["item_id"], want["item_id"])
    np.testing.assert_allclose(got["score"], want["score"], rtol=1e-5)


def _in_a_session(folder: Path, asked: dict[str, tf.Tensor]) -> np.ndarray:
    """Loads as TensorFlow Serving does; returns the items."""
    feeds = {name: value.numpy() for name, value in asked.items()}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        retrieve = meta.signature_def["retrieve"]
        options = {"user_id": [b""], "num_results": [0], "use_implicit": [True]}
        given_ = {**feeds, **options, "use_explicit": [True]}
        return session.run(
            retrieve.outputs["item_id"].name,
            {retrieve.inputs[name].name: value for name, value in given_.items()},
        )


@pytest.mark.nightly  # tests/pipeline/test_refresh_delta.py publishes and asks such a SavedModel
def test_a_saved_model_with_another_file_serves_another_catalogue(model, vectors, tmp_path):
    topics, old, attributes = yesterday(vectors)
    empty = written(no_items(vectors.shape[1], COLUMNS), tmp_path)
    made = Retriever(model, IDS[:INDEXED], topics, old, CONFIG, attributes=attributes, delta=empty)
    first, second = tmp_path / "first", tmp_path / "second"
    save_retriever(made, str(first))
    shutil.copytree(first, second)
    wanted = set(range(10, ITEMS))
    write_delta(changes(vectors, wanted, set()), COLUMNS, second / "assets" / DELTA_ASSET)
    asked = request(HISTORIES, FOLLOWS)
    # Both in one process: what one has loaded is nothing to the other.
    loaded = [tf.saved_model.load(str(folder)) for folder in (first, second)]
    before, after = (bind(each, "retrieve")(**asked)["item_id"].numpy() for each in loaded)
    np.testing.assert_array_equal(before, made.retrieve(**asked)["item_id"])
    made.delta.load(str(second / "assets" / DELTA_ASSET))
    np.testing.assert_array_equal(after, made.retrieve(**asked)["item_id"])
    shown = {item for item in after.ravel() if item}
    assert shown <= {IDS[row] for row in wanted} and shown & set(IDS[INDEXED:])
    assert (before != after).any()
    for folder, want in ((first, before), (second, after)):
        np.testing.assert_array_equal(_in_a_session(folder, asked), want)


def test_two_ids_with_one_hash_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(delta_module, "_HASH", 1)
    items = DeltaItems(
        [b"a", b"b"], Texts.of([[], []]), np.zeros((2, 4), np.float32), np.zeros(0, np.int32)
    )
    with pytest.raises(ExportError, match="ordinary refresh"):
        write_delta(items, {}, tmp_path / DELTA_ASSET)


def test_withdrawn_items_are_not_explored(model, vectors, tmp_path):
    config = RetrievalConfig(num_results=12, delta=True, explore_share=0.5)
    empty = tmp_path / DELTA_ASSET
    write_delta(no_items(vectors.shape[1], {}), {}, empty)
    newest = np.arange(20, 40, dtype=np.int32)
    made = Retriever(model, IDS, ITEM_TOPICS, vectors, config, newest=newest, delta=str(empty))
    asked = request(HISTORIES, FOLLOWS)
    assert (made.retrieve(**asked)["slot_kind"].numpy() == 2).any()
    gone = DeltaItems([], Texts.of([]), vectors[:0], newest)
    write_delta(gone, {}, empty)
    made.delta.load(str(empty))
    got = made.retrieve(**asked)
    assert not (got["slot_kind"].numpy() == 2).any()
    assert not set(got["item_id"].numpy().ravel()) & {IDS[row] for row in newest}
