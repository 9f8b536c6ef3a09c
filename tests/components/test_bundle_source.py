"""What a refresh takes from a published bundle is what is served, and nothing else is taken."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from components.bundle.manifest import read_manifest
from components.bundle.verify import verify
from components.index_builder.build import IndexPaths, build_index
from components.pusher.executor import is_blessed
from components.refresh.bundle_source.source import take_bundle
from core.errors import BundleError
from tests.components.refresh_world import INDEX, RETRIEVAL, publish_world, taken
from tests.trainer.retrieval.fake_model import request
from trainer.retrieval.signature import bind

HISTORIES = [["i3", "i7"], ["nobody knows this"], []]
FOLLOWS = [["t1"], ["t2", "unknown"], []]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    version = publish_world(root)
    manifest, paths = taken(version, root / "out")
    return root, version, manifest, paths


def test_the_model_gives_the_published_vectors_and_slots(world):
    root, _, _, paths = world
    model = tf.saved_model.load(str(paths.model / "Format-Serving"))
    first = tf.saved_model.load(str(root / "model"))
    asked = request(HISTORIES, FOLLOWS)
    ours, theirs = model.embed_user(**asked), first.embed_user(**asked)
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name].numpy(), value.numpy(), name)
    assert set(model.signatures) == {"serving_default", "embed_user", "embed_items"}


def test_an_index_of_the_same_catalogue_answers_as_the_published_one(world):
    root, version, _, paths = world
    build_index(
        IndexPaths(
            str(paths.model / "Format-Serving"), str(root / "examples"), str(root / "again")
        ),
        INDEX,
        RETRIEVAL,
    )
    asked = request(HISTORIES, FOLLOWS)
    published = bind(tf.saved_model.load(str(version)), "retrieve")(**asked)
    again = bind(tf.saved_model.load(str(root / "again" / "retriever")), "retrieve")(**asked)
    for name, value in published.items():
        np.testing.assert_array_equal(again[name].numpy(), value.numpy(), name)


def test_everything_else_is_handed_on_as_it_was_published(world):
    _, version, manifest, paths = world
    assert manifest == read_manifest(version)
    weights = paths.model / "Format-Serving" / "warm_start" / "weights.npz"
    assert weights.read_bytes() == b"weights"
    for name in ("manifest.json", "items.parquet", "index.json", "requests.parquet"):
        assert (paths.bundle / name).read_bytes() == (version / name).read_bytes()
    evaluation = paths.evaluation / "evaluation.json"
    assert evaluation.read_bytes() == (version / "evaluation.json").read_bytes()
    verify(version)


def test_the_blessing_says_where_it_comes_from_and_the_pusher_takes_it(world):
    from components.artifacts import Blessing

    _, _, _, paths = world
    content = json.loads((paths.blessing / "blessing.json").read_text())
    (verdict,) = content["verdicts"]
    assert content["blessed"] and "version 1 was blessed when it was published" in verdict["reason"]
    blessing = Blessing()
    blessing.uri = str(paths.blessing)
    blessing.set_int_custom_property("blessed", 1)
    assert is_blessed([blessing])


def test_a_second_attempt_replaces_what_a_killed_one_left(world, tmp_path):
    _, version, _, _ = world
    left = tmp_path / "model" / "Format-Serving"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    _, paths = taken(version, tmp_path)
    assert not (paths.model / "Format-Serving" / "half").exists()
    assert (paths.model / "Format-Serving" / "saved_model.pb").exists()


def copy_of(world, tmp_path):
    copy = tmp_path / "world" / "1"
    shutil.copytree(world[1], copy)
    return copy


def test_a_damaged_bundle_is_refused_by_file(world, tmp_path):
    copy = copy_of(world, tmp_path)
    (copy / "item_embeddings.npy").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"item_embeddings\.npy.*damaged"):
        taken(copy, tmp_path)


def test_a_bundle_that_was_replaced_since_the_run_began_is_refused(world, tmp_path):
    _, version, _, paths = world
    with pytest.raises(BundleError, match="replaced since this run began"):
        take_bundle(version, "0" * 64, paths)


def test_a_bundle_without_sample_requests_is_refused_with_the_mend(tmp_path):
    version = publish_world(tmp_path, requests=False)
    with pytest.raises(BundleError, match=r"requests\.parquet.*run the whole pipeline once"):
        taken(version, tmp_path / "out")


def test_a_model_whose_vectors_are_not_the_published_ones_is_refused(tmp_path):
    publish_world(tmp_path)
    stored = tmp_path / "index" / "item_embeddings.npy"
    np.save(stored, np.roll(np.load(stored), 1, axis=0))
    version = publish_world(tmp_path)
    with pytest.raises(BundleError, match="other item vectors than the published ones"):
        taken(version, tmp_path / "out")


def test_a_bundle_whose_graph_holds_no_embedding_model_is_refused(tmp_path):
    publish_world(tmp_path)
    shutil.rmtree(tmp_path / "index" / "retriever")
    tf.saved_model.save(tf.Module(), str(tmp_path / "index" / "retriever"))
    version = publish_world(tmp_path)
    with pytest.raises(BundleError, match="gives no embedding model"):
        taken(version, tmp_path / "out")
