"""A mirror of a serving folder in an object store reads like the folder itself."""

import datetime as dt
import json
import logging

import pytest
from tfx.orchestration.portable import data_types
from tfx.types import standard_artifacts

from components.artifacts import Bundle
from components.baseline_resolver.driver import Driver
from components.baseline_resolver.executor import Executor
from components.bundle import (
    latest_version,
    list_versions,
    mirrored,
    opened_bundle,
    pushed_spans,
    read_pins,
    verify,
)
from components.bundle.labels import change, promoted, rolled_back
from components.bundle.mirror import pull, shown, told
from components.bundle.opened import Location, locate
from components.bundle.served import Served, served
from components.bundle.versions import next_version, scan
from components.pusher.push import push
from core.errors import BundleError
from core.storage import ObjectStore
from tests.components.bundle_fixtures import WARM_FILES, make_request, snapshot
from tests.components.store_fixtures import (
    memory_keys,
    memory_url,
    publish,
    remote_request,
    visible,
)
from tests.object_store import s3, s3_server  # noqa: F401 - fixtures

logging.getLogger("werkzeug").setLevel(logging.ERROR)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Three versions of three days; no test changes them."""
    place, root = memory_url(), tmp_path_factory.mktemp("artifacts")
    for content, span in (("one", 100), ("two", 101), ("three", 102)):
        publish(root, place, content, span=span, training_digest=f"digest-{span}")
    return place


@pytest.fixture
def own(tmp_path):
    place = memory_url()
    for content in ("one", "two"):
        publish(tmp_path / "artifacts", place, content)
    return place


def promote(place, version, label="stable"):
    with mirrored(place) as root:
        return change(root / "demo", lambda pins, found: promoted(pins, found, version, label))


def test_a_mirror_lists_versions_without_their_files(url):
    with mirrored(url, "demo") as root:
        assert [v.version for v in list_versions(root / "demo")] == [1, 2, 3]
        assert (root / "demo/3/saved_model.pb").read_bytes() == b""
        assert sorted(p.name for p in (root / "demo/3").iterdir()) == [
            "manifest.json",
            "saved_model.pb",
        ]
        assert next_version(root / "demo") == 4 and scan(root / "demo")[1] == {}
        assert served(root / "demo") == Served((3,), {})
    assert not root.exists()


def test_a_folder_whose_objects_are_gone_is_no_model(tmp_path, s3):  # noqa: F811
    """SeaweedFS names it in its listings for some minutes."""
    place = s3.fresh()
    publish(tmp_path / "artifacts", place)
    ObjectStore(place).write("gone/1/saved_model.pb", b"x")
    ObjectStore(place).delete(["gone/1/saved_model.pb"])
    with mirrored(place) as root:
        assert [path.name for path in root.iterdir() if path.is_dir()] == ["demo"]


def test_verifying_a_version_downloads_it_whole(url):
    keys = memory_keys(url)
    with mirrored(url, "demo") as root:
        manifest = verify(root / "demo/2")
        assert manifest.version == 2
        files = snapshot(root / "demo/2")
        for name in manifest.files:
            assert (root / "demo/2" / name).read_bytes() == keys[f"demo/2/{name}"]
        assert len([d for d in files.values() if d != "folder"]) == len(manifest.files) + 1
        assert (root / "demo/3/saved_model.pb").read_bytes() == b""


def test_a_local_folder_is_no_mirror(tmp_path):
    push(make_request(tmp_path), blessed=True)
    before = snapshot(tmp_path / "serving")
    with mirrored(tmp_path / "serving", "demo") as root:
        assert root == tmp_path / "serving"
        pull(root / "demo")
        verify(root / "demo/1")
        assert shown(root / "demo/1") == str(tmp_path / "serving/demo/1")
        assert told("as it is", root) == "as it is"
    assert snapshot(tmp_path / "serving") == before


def test_paths_are_told_as_urls(url):
    with mirrored(url, "demo") as root:
        assert shown(root) == url and shown(root / "demo/1") == f"{url}/demo/1"
        assert told(f"{root}/demo/1/x: bad", root / "demo") == f"{url}/demo/1/x: bad"


@pytest.mark.parametrize("damage", ["changed", "missing", "added", "manifest", "graph"])
def test_a_damaged_version_is_refused_by_its_url(tmp_path, damage):
    place = memory_url()
    publish(tmp_path, place)
    store = ObjectStore(place)
    if damage == "changed":
        store.write("demo/1/items.parquet", b"x" * 7)
    elif damage == "missing":
        store.delete(["demo/1/index.json"])
    elif damage == "added":
        store.write("demo/1/variables/more", b"x")
    elif damage == "manifest":
        text = store.read("demo/1/manifest.json").replace(b"demo", b"dema")
        store.write("demo/1/manifest.json", text)
    else:
        store.write("demo/1/saved_model.pb", b"")
    refused = pytest.raises(BundleError, match=f"{place}/demo/1/")
    with refused as caught, mirrored(place, "demo") as root:
        verify(root / "demo/1")
    assert str(root) not in str(caught.value)


def test_what_is_being_uploaded_or_removed_is_no_version(own):
    store = ObjectStore(own)
    store.write("demo/3/items.parquet", b"half")
    store.delete(["demo/2/saved_model.pb"])
    with mirrored(own, "demo") as root:
        found, broken = scan(root / "demo")
        assert [v.version for v in found] == [1]
        assert list(broken) == [2] and "being published or removed" in broken[2]


def test_pull_brings_a_mirror_up_to_date(own, tmp_path):
    with mirrored(own, "demo") as root:
        verify(root / "demo/1")
        publish(tmp_path / "artifacts", own, "three")
        ObjectStore(own).delete(["demo/2/saved_model.pb", "demo/2/manifest.json"])
        pull(root / "demo")
        assert [v.version for v in list_versions(root / "demo")] == [1, 3]
        assert (root / "demo/1/items.parquet").exists()


def test_promote_and_roll_back_write_pins_and_the_configuration(own):
    assert promote(own, 1) == Served((1,), {"stable": 1})
    keys = memory_keys(own)
    assert json.loads(keys["demo/pins.json"])["labels"] == {"stable": 1}
    assert f'base_path: "{own}/demo"' in keys["models.config"].decode()
    assert 'key: "stable"' in keys["models.config"].decode()
    assert promote(own, 2) == Served((2,), {"stable": 2})
    with mirrored(own) as root:
        change(root / "demo", lambda pins, found: rolled_back(pins, found, None))
    with mirrored(own, "demo") as root:
        assert read_pins(root / "demo").labels == {"stable": 1}
    assert set(memory_keys(own)) == set(keys)  # neither links nor locks


def test_the_configuration_names_all_models_of_the_folder(own, tmp_path):
    other = remote_request(tmp_path / "other", own)
    push(type(other)(**{**vars(other), "name": "another"}), blessed=True)
    promote(own, 1)
    text = memory_keys(own)["models.config"].decode()
    assert 'name: "demo"' in text and 'name: "another"' in text


def test_a_damaged_version_is_not_promoted_and_nothing_is_written(own):
    ObjectStore(own).write("demo/1/items.parquet", b"damaged")
    before = memory_keys(own)
    with pytest.raises(BundleError, match=rf"{own}/demo/1/items\.parquet"):
        promote(own, 1)
    assert memory_keys(own) == before


def test_a_version_removed_while_it_is_labelled_is_said(own):
    def late(pins, found):
        now = promoted(pins, found, 1, "stable")
        ObjectStore(own).delete(["demo/1/saved_model.pb", "demo/1/manifest.json"])
        return now

    with pytest.raises(BundleError, match="version 1 was removed"), mirrored(own) as root:
        change(root / "demo", late)


def test_a_url_is_told_to_be_a_version_a_model_or_a_serving_folder(url):
    assert locate(f"{url}/demo/2") == Location(url, "demo", "2")
    assert locate(f"{url}/demo/") == Location(url, "demo", None)
    assert locate(url) == Location(url, None, None)
    with pytest.raises(BundleError, match=f"{url}/nobody: nothing is there"):
        locate(f"{url}/nobody")


@pytest.mark.parametrize(("inner", "version"), [("", 3), ("/demo", 3), ("/demo/1", 1)])
def test_a_bundle_is_opened_from_any_of_them(url, inner, version):
    with opened_bundle(url + inner) as bundle:
        assert bundle.manifest.version == version
        assert (bundle.path / "saved_model.pb").read_bytes()
    assert not bundle.path.exists()


def test_pushed_spans_are_those_of_the_newest_versions(url, tmp_path):
    day = dt.date(1970, 1, 1) + dt.timedelta(days=100)
    expected = {day + dt.timedelta(days=n): n + 1 for n in range(3)}
    assert pushed_spans(url, "demo") == expected
    assert pushed_spans(url, "nobody") == {} == pushed_spans(str(tmp_path / "none"), "demo")
    for content, span in (("a", 7), ("b", 7), ("c", None)):
        push(make_request(tmp_path, content, span=span), blessed=True)
    assert pushed_spans(str(tmp_path / "serving"), "demo") == {dt.date(1970, 1, 8): 2}


def _resolver(place, span="1970-04-14"):
    """Runs driver and executor of a BaselineResolver as TFX does."""
    examples = standard_artifacts.Examples()
    properties = {
        "serving_dir": place, "name": "demo", "training_digest": "t", "span": span,
        "code_digest": "c",
    }  # fmt: skip
    info = data_types.ExecutionInfo(exec_properties=properties, input_dict={"examples": [examples]})
    key = Driver(None).run(info).exec_properties["candidates"].string_value
    return properties, {"examples": [examples]}, key


def test_the_baseline_resolver_reads_a_url(url, tmp_path):
    properties, inputs, key = _resolver(url)
    with mirrored(url, "demo") as root:
        assert key == latest_version(root / "demo").manifest.manifest_digest
    baseline, model = Bundle(), standard_artifacts.Model()
    baseline.uri, model.uri = str(tmp_path / "baseline"), str(tmp_path / "model")
    Executor().Do(inputs, {"baseline": [baseline], "model": [model]}, properties)
    assert baseline.get_int_custom_property("version") == 3
    assert verify(tmp_path / "baseline/bundle").version == 3
    said = json.loads((tmp_path / "baseline/baseline.json").read_text())
    assert said["path"] == f"{url}/demo/3"
    for name in WARM_FILES:
        assert (tmp_path / "model/Format-Serving/warm_start" / name).exists()


def test_the_baseline_resolver_of_an_empty_url_finds_none(tmp_path):
    place = memory_url()
    properties, inputs, key = _resolver(place)
    assert key == "none"
    baseline, model = Bundle(), standard_artifacts.Model()
    baseline.uri, model.uri = str(tmp_path / "baseline"), str(tmp_path / "model")
    Executor().Do(inputs, {"baseline": [baseline], "model": [model]}, properties)
    said = json.loads((tmp_path / "baseline/baseline.json").read_text())
    assert not said["found"] and f"{place}/demo holds no version" in said["reason"]


def test_readers_of_s3_read_what_pushers_write(tmp_path, s3):  # noqa: F811
    place = s3.fresh()
    for content, span in (("one", 100), ("two", 101)):
        publish(tmp_path, place, content, span=span)
    promote(place, 1)
    assert visible(s3.keys(place)) == [1, 2]
    with opened_bundle(f"{place}/demo/1") as bundle:
        assert bundle.manifest.span == 100
    _, _, key = _resolver(place)
    with mirrored(place, "demo") as root:
        (first,) = [v for v in list_versions(root / "demo") if v.version == 1]
        assert key == first.manifest.manifest_digest  # what is served, not the newest
        assert served(root / "demo") == Served((1,), {"stable": 1})
