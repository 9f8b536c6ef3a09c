"""Manifests, versions and their verification."""

import json

import pytest

from components.bundle import (
    Pins,
    latest_version,
    list_versions,
    open_bundle,
    read_manifest,
    read_pins,
    verify,
    write_pins,
)
from components.pusher.push import push
from core.errors import BundleError
from tests.components.bundle_fixtures import make_request


@pytest.fixture
def model_dir(tmp_path):
    for content in ("one", "two"):
        push(make_request(tmp_path, content), blessed=True)
    return tmp_path / "serving/demo"


def test_a_whole_bundle_verifies(model_dir):
    assert verify(model_dir / "2").version == 2


def test_a_changed_file_is_named(model_dir):
    path = model_dir / "2/variables/variables.index"
    path.write_bytes(b"iv")  # same length
    with pytest.raises(BundleError, match=r"variables/variables\.index.*does not match"):
        verify(model_dir / "2")


def test_a_cut_file_is_named_with_both_sizes(model_dir):
    (model_dir / "2/items.parquet").write_bytes(b"")
    with pytest.raises(BundleError, match=r"items\.parquet: 0 bytes, the manifest says 3"):
        verify(model_dir / "2")


def test_a_missing_file_is_named(model_dir):
    (model_dir / "2/retriever_scann/saved_model.pb").unlink()
    with pytest.raises(BundleError, match=r"retriever_scann/saved_model\.pb.*missing"):
        verify(model_dir / "2")


def test_a_file_that_the_manifest_does_not_list_is_named(model_dir):
    (model_dir / "2/variables/extra").write_bytes(b"x")
    with pytest.raises(BundleError, match="extra: not listed"):
        verify(model_dir / "2")


def test_an_edited_manifest_is_refused(model_dir):
    path = model_dir / "2/manifest.json"
    tree = json.loads(path.read_text())
    tree["metrics"]["recall@100"] = 0.99
    path.write_text(json.dumps(tree))
    with pytest.raises(BundleError, match="changed after publishing"):
        read_manifest(model_dir / "2")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 0}', "\x00"])
def test_a_malformed_manifest_is_a_bundle_error(model_dir, text):
    (model_dir / "2/manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        read_manifest(model_dir / "2")


def test_only_plain_integers_with_a_valid_manifest_count(model_dir):
    for name in ("007", "latest", "-3", "1.5", ".tmp-9", "12"):
        (model_dir / name).mkdir()
    (model_dir / "3").symlink_to("2")  # its manifest says 2
    assert [v.version for v in list_versions(model_dir)] == [1, 2]
    assert latest_version(model_dir).version == 2


def test_there_are_no_versions_where_there_is_no_folder(tmp_path):
    assert list_versions(tmp_path / "nothing") == []
    assert latest_version(tmp_path / "nothing") is None


def test_a_bundle_opens_by_version_by_model_and_by_serving_folder(model_dir):
    for path in (model_dir / "2", model_dir, model_dir.parent):
        assert open_bundle(path).path == model_dir / "2"
    assert open_bundle(model_dir / "1").manifest.version == 1


def test_a_serving_folder_with_two_models_asks_which(model_dir):
    (model_dir.parent / "other").symlink_to(model_dir)
    with pytest.raises(BundleError, match="several models"):
        open_bundle(model_dir.parent)


def test_a_folder_without_versions_says_so(tmp_path):
    with pytest.raises(BundleError, match="no published version"):
        open_bundle(tmp_path)
    with pytest.raises(BundleError, match="no such folder"):
        open_bundle(tmp_path / "nowhere")


def test_a_bundle_copied_elsewhere_still_verifies(model_dir, tmp_path):
    import shutil

    shutil.copytree(model_dir / "2", tmp_path / "copy")
    assert open_bundle(tmp_path / "copy").manifest.version == 2


def test_pins_are_kept(model_dir):
    write_pins(model_dir, Pins(labels={"stable": 1}).with_pin(2).with_pin(1).without_pin(2))
    assert read_pins(model_dir) == Pins(pinned=(1,), labels={"stable": 1})
