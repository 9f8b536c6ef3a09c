"""An index in shards: its files, its recall, and the models of a router and of servers."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.config import IndexConfig
from components.index_builder.build import IndexPaths, build_index
from components.index_builder.catalogue import Catalogue
from components.index_builder.sharded import by_shard, parts
from core.errors import ConfigError
from tests.components import retrieval_world as world
from tests.trainer.retrieval.fake_model import request
from trainer.config import RetrievalConfig
from trainer.retrieval import routing, signature
from trainer.retrieval.search import load_scann_ops
from trainer.retrieval.sharding import shard_of

IDS = [name.encode() for name in world.IDS]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    world.write_world(root)
    paths = IndexPaths(str(root / "model"), str(root / "examples"), str(root / "index"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("components.index_builder.build.SCANN_MIN_ITEMS", 16)
        settings = IndexConfig(kind="scann", recall_target=0.9, shards=2)
        build_index(paths, settings, RetrievalConfig(num_results=9, filters=("topics",)))
    return root / "index"


@pytest.mark.nightly
def test_the_files_of_shards_are_beside_those_of_the_whole(index):
    assert {path.name for path in index.iterdir()} >= {"retriever", "retriever_scann", "router"}
    for folder in ("shards", "scann"):
        assert {path.name for path in (index / folder).iterdir()} == {"0", "1"}
    about = json.loads((index / "index.json").read_text())
    assert about["kind"] == "scann"
    assert about["recall_vs_exact"] >= 0.9
    assert {attempt["shard"] for attempt in about["tried"]} == {0, 1}
    names = pq.read_table(index / "items.parquet")["item_id"].to_pylist()
    shards = shard_of([name.encode() for name in names], 2)
    assert shards.tolist() == sorted(shards)
    assert [each["items"] for each in about["shards"]] == np.bincount(shards).tolist()
    vectors = world.fake_model().item_vectors.numpy()[[world.IDS.index(name) for name in names]]
    np.testing.assert_array_equal(np.load(index / "item_embeddings.npy"), vectors)


@pytest.mark.nightly
def test_router_and_shards_answer_as_the_retriever_of_all(index):
    load_scann_ops()
    given = request([["i1", "i2"], ["i7"]], [["t1"], []])
    given["filter"] = tf.constant([["topics=t1"]])
    one = tf.saved_model.load(str(index / "retriever_scann"))
    truth = signature.bind(one, signature.RETRIEVE_FILTERED)(**given)
    router = tf.saved_model.load(str(index / "router"))
    encoded = signature.bind(router, routing.ENCODE_FILTERED)(**given)
    names = (*routing.SEARCH_SPECS, *signature.FILTER_SPECS)
    found = []
    for number in (0, 1):
        shard = tf.saved_model.load(str(index / "shards" / str(number)))
        search = shard.signatures[routing.SEARCH_SLOTS_FILTERED]
        found.append(search(**{name: encoded[name] for name in names}))
    together = {key: tf.concat([each[key] for each in found], 2) for key in found[0]}
    kept = {key: value for key, value in encoded.items() if key in routing.MERGE_SPECS}
    answer = router.signatures[routing.MERGE](**kept, **together)
    # So few items are allowed that both search them exactly.
    np.testing.assert_array_equal(answer["item_id"], truth["item_id"])
    np.testing.assert_array_equal(answer["slot"], truth["slot"])


def test_one_index_is_not_reordered_and_an_empty_shard_is_refused():
    vectors = np.eye(80, dtype=np.float32)
    catalogue = Catalogue(IDS, [[]] * 80, vectors, [[b"a=%d" % n] for n in range(80)])
    assert list(parts(catalogue)) == [slice(0, 80)]
    three = by_shard(catalogue, 3)
    assert sum(three.shards) == 80
    for row, name in enumerate(three.ids):
        assert three.embeddings[row].argmax() == IDS.index(name)
        assert three.values[row] == [b"a=%d" % IDS.index(name)]
    with pytest.raises(ConfigError, match=r"index.shards is 64, .* none falls into shard \d+"):
        by_shard(Catalogue(IDS[:9], [[]] * 9, vectors[:9]), 64)
