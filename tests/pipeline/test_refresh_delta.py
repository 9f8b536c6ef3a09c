"""`tessera refresh --delta`: what a new items table changes is served, nothing else is touched."""

import gc
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from click.testing import CliRunner

from cli.refresh import refresh as command
from components.bundle import list_versions, verify
from components.index_builder.build import IndexPaths, build_index
from components.refresh.catalogue_gen.changes import changes, same_attributes
from components.refresh.index_refresh.keep import same_index
from core.errors import BundleError, ConfigError, DataError
from pipeline.config import RunConfig
from pipeline.monitor.reference import read_reference
from pipeline.refresh.delta import refresh_delta
from serving.recommend.catalogue import ItemCatalogue
from tests.components.raw_examples import corpus_item, write_split
from tests.components.refresh_world import INDEX, publish_world, taken
from tests.components.retrieval_world import IDS, ITEM_TOPICS
from tests.trainer.retrieval.fake_model import request
from trainer.config import RetrievalConfig
from trainer.retrieval.signature import bind

pytestmark = pytest.mark.slow("publishes a world and loads what is published")

RETRIEVAL = RetrievalConfig(num_results=20, delta=True, filters=("region", "created_at"))
TOPICS = dict(zip(IDS, (list(dict.fromkeys(names)) for names in ITEM_TOPICS), strict=True))
HISTORIES, FOLLOWS = [["i3", "i7"], ["unknown"], []], [["t1"], ["t2"], []]


def table_of(folder, topics, regions=None):
    """Writes an items table; items are of `de`, created at 100, unless it is said otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    regions = regions or {}
    columns = {
        "item_id": list(topics),
        "topics": list(topics.values()),
        "region": [regions.get(name, "de") for name in topics],
        "created_at": [100] * len(topics),
    }
    pq.write_table(pa.table(columns), folder / "items.parquet")


def config_of(root, tables, **more):
    tree = {
        "pipeline": "refresh",
        "name": "world",
        "serving_dir": str(root / "serving"),
        "work_dir": str(root / "work"),
        "data": {"root": str(tables)},
    }
    return RunConfig.model_validate(tree | more)


def recorded(retrieval):
    """The run configuration that the published version names."""
    metric = "recall@20"
    evaluator = {"ks": [10, 20], "primary_metric": metric, "thresholds": {metric: {"min": 0.0}}}
    return {"index": INDEX.model_dump(), "retrieval": retrieval.model_dump()} | {
        "evaluator": evaluator
    }


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A published world with room for a delta and filters; tests copy it."""
    root = tmp_path_factory.mktemp("world")
    publish_world(root, retrieval=RETRIEVAL, config=recorded(RETRIEVAL))
    return root


@pytest.fixture
def world(first, tmp_path):
    shutil.copytree(first / "serving", tmp_path / "serving")
    return tmp_path


def later() -> dict[str, list[str]]:
    """Yesterday's items, three of them gone, two with other topics, one new."""
    topics = {name: TOPICS[name] for name in IDS if name not in ("i0", "i5", "i7")}
    return topics | {"i1": ["t5"], "i2": [], "new": ["t1"]}


def ask(folder, name="retrieve", **more):
    return bind(tf.saved_model.load(str(folder)), name)(**request(HISTORIES, FOLLOWS), **more)


def test_the_new_version_answers_as_one_that_was_built_anew(world, first):
    table_of(world / "tables", later(), {"i4": "at", "new": "at"})
    result = refresh_delta(config_of(world, world / "tables"))
    assert gc.isenabled()
    assert result.delta.model_dump(exclude={"sha256"}) == {
        "base_version": 1,
        "added": 1,
        "changed": 3,
        "withdrawn": 3,
    }
    folder = result.push.destination
    manifest = verify(folder)
    assert (manifest.version, manifest.refreshed_from, manifest.model_version) == (2, 1, 1)
    assert manifest.delta == result.delta
    # The same catalogue as an index of its own; equal scores may come in another order.
    corpus = [corpus_item(name, topics) for name, topics in sorted(later().items())]
    write_split(world / "examples", "corpus", corpus)
    plain = RetrievalConfig(num_results=20)
    shutil.copytree(first / "examples" / "Split-validation", world / "examples/Split-validation")
    paths = IndexPaths(str(first / "model"), str(world / "examples"), str(world / "again"))
    build_index(paths, INDEX, plain)
    got, want = ask(folder), ask(world / "again" / "retriever")
    np.testing.assert_allclose(got["score"], want["score"], atol=1e-5)
    for ours, theirs in zip(got["item_id"].numpy(), want["item_id"].numpy(), strict=True):
        assert set(ours) == set(theirs)
    filtered = ask(folder, "retrieve_filtered", filter=tf.constant([["region=at"]]))
    assert set(filtered["item_id"].numpy().ravel()) <= {b"i4", b"new", b""}
    assert b"new" in filtered["item_id"].numpy()


def test_large_files_are_shared_and_readers_see_the_new_catalogue(world):
    table_of(world / "tables", later())
    folder = refresh_delta(config_of(world, world / "tables")).push.destination
    for name in ("saved_model.pb", "variables/variables.data-00000-of-00001", "items.parquet"):
        before = world / "serving" / "world" / "1" / name
        assert (folder / name).stat().st_ino == before.stat().st_ino
    found = ItemCatalogue.read(folder).facts(["new", "i0", "i1"])
    assert found.topics == {"new": ["t1"], "i1": ["t5"]}
    bundle = next(each for each in list_versions(folder.parent) if each.version == 2)
    assert set(read_reference(bundle).items.to_pylist()) == set(later())


@pytest.mark.nightly
def test_a_delta_after_a_delta_is_against_the_same_index(world):
    table_of(world / "tables", later())
    refresh_delta(config_of(world, world / "tables"))
    again = refresh_delta(config_of(world, world / "tables"))
    assert (again.push.version, again.parent) == (2, 2)
    assert "nothing to publish" in again.push.reason
    table_of(world / "tables", TOPICS | {"newer": ["t2"]})
    third = refresh_delta(config_of(world, world / "tables"))
    assert (third.push.version, third.delta.base_version, third.delta.added) == (3, 1, 1)
    answer = ask(third.push.destination, "score_items", item_id=tf.constant([["i0", "new"]] * 3))
    assert answer["known"].numpy().tolist() == [[True, False]] * 3


@pytest.mark.nightly
def test_the_ordinary_refresh_starts_from_what_is_served_and_builds_an_index(world, tmp_path):
    table_of(world / "tables", later(), {"i4": "at"})
    folder = refresh_delta(config_of(world, world / "tables")).push.destination
    manifest, paths = taken(folder, tmp_path / "out")
    items = pa.table(
        {
            "item_id": pa.array([name.encode() for name in later()], pa.large_binary()),
            "topics": pa.array(list(later().values()), pa.large_list(pa.large_binary())),
            "attributes": pa.array(
                [[b"at" if name == "i4" else b"de", b"100"] for name in later()],
                pa.large_list(pa.large_binary()),
            ),
        }
    )
    found = changes(paths.bundle / "items.parquet", items)
    assert found["unchanged"]
    names = RETRIEVAL.attribute_columns()
    assert same_attributes(paths.bundle / "item_attributes.parquet", items, names)
    assert not same_index(paths.bundle, found, INDEX, RETRIEVAL, manifest.code_digest)


def test_what_a_delta_cannot_do_is_refused_and_nothing_is_published(world, first):
    table_of(world / "tables", later())
    small = config_of(world, world / "tables", refresh={"max_delta_share": 0.05})
    with pytest.raises(DataError, match=r"1 items are new, 2 changed and 3 gone.*ordinary refresh"):
        refresh_delta(small)
    other = config_of(world, world / "tables", retrieval={"num_results": 5})
    with pytest.raises(BundleError, match="other settings under `retrieval`"):
        refresh_delta(other)
    lost = {name: TOPICS[name] for name in IDS[:20]}
    table_of(world / "tables", lost)
    with pytest.raises(DataError, match=r"60 of the 80 served items \(75%\) are not in the new"):
        refresh_delta(config_of(world, world / "tables"))
    assert [each.version for each in list_versions(world / "serving" / "world")] == [1]


def test_a_version_without_room_says_how_to_get_it(tmp_path):
    plain = RetrievalConfig(num_results=20)
    publish_world(tmp_path, config=recorded(plain))
    table_of(tmp_path / "tables", later())
    with pytest.raises(BundleError, match=r"retrieval\.delta=true"):
        refresh_delta(config_of(tmp_path, tmp_path / "tables"))


def test_the_command_says_what_it_did(world, tmp_path):
    table_of(world / "tables", later())
    config = config_of(world, world / "tables").model_dump(mode="json", exclude_unset=True)
    path = tmp_path / "refresh.yaml"
    path.write_text(json.dumps(config))
    done = CliRunner().invoke(command, ["--conf", str(path), "--delta"])
    assert done.exit_code == 0, done.output
    assert "1 new, 2 changed, 3 gone, beside the index of version 1" in done.output
    again = CliRunner().invoke(command, ["--conf", str(path), "--delta", "--json"])
    assert json.loads(again.output)["delta"]["withdrawn"] == 3
    path.write_text(json.dumps(config | {"pipeline": "train"}))
    refused = CliRunner().invoke(command, ["--conf", str(path), "--delta"])
    assert isinstance(refused.exception, ConfigError)
