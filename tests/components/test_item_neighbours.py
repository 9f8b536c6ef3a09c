"""Neighbours from training events to the served answer, and what a refresh makes of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from components.config import IndexConfig
from components.evaluator.items import Items
from components.evaluator.learned_floors import ease, rp3beta
from components.evaluator.training_log import read_training_log
from components.index_builder.build import IndexPaths, build_index
from components.index_builder.catalogue import Catalogue
from components.index_builder.layout import NEIGHBOURS_FILE
from components.index_builder.neighbour_file import read_neighbours, write_neighbours
from components.index_builder.neighbours import item_neighbours, learned
from core.errors import IndexQualityError
from tests.components.retrieval_world import build, fake_model, write_world
from tests.markers import nightly
from trainer.config import RetrievalConfig


def matrix_of(table):
    size = len(table.starts) - 1
    return sparse.csr_matrix((table.values, table.rows, table.starts), shape=(size, size)).toarray()


def test_a_file_is_read_for_its_own_items_and_for_others(tmp_path):
    ids = [b"a", b"b", b"c", b"d"]
    matrix = sparse.random(4, 4, 0.6, "csr", np.float32, np.random.default_rng(0))
    write_neighbours(ids, matrix, 0.25, tmp_path / "n.parquet")
    own = read_neighbours(tmp_path / "n.parquet", ids)
    assert own.weight == 0.25
    np.testing.assert_array_equal(matrix_of(own), matrix.toarray())
    others = matrix_of(read_neighbours(tmp_path / "n.parquet", [b"new", b"d", b"a", b"c"]))
    known = [3, 0, 2]
    np.testing.assert_allclose(others[1:, 1:], matrix.toarray()[np.ix_(known, known)])
    assert not others[0].any() and not others[:, 0].any()
    (tmp_path / "n.parquet").write_bytes(b"PAR1")
    with pytest.raises(IndexQualityError, match=r"n\.parquet: cannot be read as neighbours"):
        read_neighbours(tmp_path / "n.parquet", ids)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Targets lie near the newest item, which the model does not know and the events do."""
    root = tmp_path_factory.mktemp("world")
    write_world(root, model_seed=3, n_eval=20)
    return root, build(root, neighbours="rp3beta", neighbours_per_item=15)


def test_the_weight_is_chosen_on_validation_which_the_served_neighbours_then_know(world):
    root, index = world
    said = json.loads((index / "index.json").read_text())["neighbours"]
    recalls = {tried["weight"]: tried["recall@10"] for tried in said["tried"]}
    assert said["weight"] > 0 and recalls[said["weight"]] > recalls[0.0]
    items = Items.read(index / "items.parquet")
    table = read_neighbours(index / NEIGHBOURS_FILE, items.ids)
    log = read_training_log(str(root / "examples"), items)
    np.testing.assert_array_equal(matrix_of(table), rp3beta(log, len(items), 15).toarray())
    model = tf.saved_model.load(str(index / "retriever"))
    assert float(model.neighbours.values.shape[0]) == said["entries"] == len(table.rows)


def test_what_is_tried_knows_no_validation_event(world, tmp_path, monkeypatch):
    root, given = world[0], []

    def spy(model, examples_uri, catalogue, items, retrieval, matrix):
        given.append((matrix, len(items)))
        return 0.0, []

    monkeypatch.setattr("components.index_builder.neighbours.choose_weight", spy)
    paths = IndexPaths(str(root / "model"), str(root / "examples"), str(tmp_path / "index"))
    settings = RetrievalConfig(num_results=20, neighbours="rp3beta", neighbours_per_item=15)
    said = build_index(paths, IndexConfig(kind="exact"), settings)["neighbours"]
    assert said == {"weight": 0.0, "entries": 0, "tried": []}
    assert not (tmp_path / "index" / NEIGHBOURS_FILE).exists()
    items = Items.read(tmp_path / "index" / "items.parquet")
    log = read_training_log(str(root / "examples"), items, validation=False)
    ((matrix, count),) = given
    np.testing.assert_array_equal(matrix.toarray(), rp3beta(log, count, 15).toarray())


@pytest.mark.parametrize("shards", [1, *nightly(2)])
def test_a_refit_model_has_its_neighbours_weighed_by_the_one_that_validation_chose(
    world, tmp_path, shards
):
    root, index = world
    write_world(tmp_path / "other", model_seed=5)
    settings = RetrievalConfig(num_results=20, neighbours="rp3beta", neighbours_per_item=15)

    def built(name, model, before_refit=None):
        given = str(root / "examples"), str(tmp_path / name)
        paths = IndexPaths(str(model / "model"), *given, before_refit=before_refit)
        return build_index(paths, IndexConfig(kind="exact", shards=shards), settings)

    refit = built("refit", tmp_path / "other", str(root / "model"))
    plain = json.loads((index / "index.json").read_text()) if shards == 1 else built("plain", root)
    assert refit["neighbours"] == plain["neighbours"]
    assert (plain["refit"], refit["refit"]) == (False, True)
    ids = Items.read(tmp_path / "refit" / "items.parquet").ids
    served = np.load(tmp_path / "refit" / "item_embeddings.npy")
    vectors = fake_model(5).item_vectors.numpy()
    np.testing.assert_allclose(served, vectors[[int(item[1:]) for item in ids]])


def test_a_refresh_takes_the_published_neighbours_over(world, tmp_path):
    again, root = tmp_path / "again", world[0]
    published = str(world[1] / NEIGHBOURS_FILE)
    given = str(root / "model"), str(root / "examples"), str(again)
    paths = IndexPaths(*given, neighbours=published, refit=True)
    settings = RetrievalConfig(num_results=20, neighbours="rp3beta")
    assert build_index(paths, IndexConfig(kind="exact"), settings)["refit"] is True
    items = Items.read(again / "items.parquet")
    old, new = (read_neighbours(path / NEIGHBOURS_FILE, items.ids) for path in (world[1], again))
    np.testing.assert_array_equal(matrix_of(old), matrix_of(new))
    assert new.weight == old.weight
    catalogue = Catalogue(items.ids, [], np.zeros((len(items), 1), np.float32))
    missing, path = tmp_path / "missing.parquet", tmp_path / "none.parquet"
    settings = RetrievalConfig(neighbours="ease")
    table, said = item_neighbours(None, catalogue, "", str(missing), settings, path)
    assert table is None and said == {"neighbours": {"weight": 0.0}} and not path.exists()


def test_ease_keeps_the_strongest_positive_weights_of_each_item(world):
    root, index = world
    items = Items.read(index / "items.parquet")
    log = read_training_log(str(root / "examples"), items, validation=False)
    wanted = ease(log, len(items))
    got = learned(log, len(items), 7, "ease").toarray()
    for row, weights in enumerate(wanted):
        best = np.sort(np.argsort(-weights)[:7])
        np.testing.assert_array_equal(np.flatnonzero(got[row]), best[weights[best] > 0])
        np.testing.assert_allclose(got[row][got[row] > 0], weights[best][weights[best] > 0])
