"""`tessera versions`."""

import json

import pytest
from click.testing import CliRunner

from cli.versions import versions
from components.bundle import Pins, read_pins, write_pins
from components.pusher.push import push
from core.errors import BundleError
from tests.components.bundle_fixtures import make_request


@pytest.fixture
def serving(tmp_path):
    for content, date in (("one", "2025-01-10"), ("two", "2025-01-11"), ("three", "2025-01-12")):
        push(make_request(tmp_path, content, run_date=date), blessed=True)
    return tmp_path / "serving"


def call(*arguments):
    result = CliRunner().invoke(versions, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_versions_are_listed_newest_first(serving):
    result = call("--serving-dir", serving)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert [line[0] for line in lines[2:]] == ["3", "2", "1"]
    assert "recall@100" in result.stdout and "0.2500" in result.stdout
    assert "2025-01-12" in lines[2] and lines[2][-2:] == ["latest,", "served"]
    assert [line[-1] for line in lines[3:]] == ["2", "1"]  # the version of the model


def test_json_holds_what_a_script_needs(serving):
    write_pins(serving / "demo", Pins(pinned=(1,), labels={"stable": 2}))
    document = json.loads(call("--serving-dir", serving, "--json").stdout)
    newest, served, pinned = document["versions"]
    assert (newest["version"], newest["latest"], newest["parent_version"]) == (3, True, 2)
    assert (served["labels"], pinned["pinned"]) == (["stable"], True)
    assert newest["valid"] is None and newest["span"] == "2025-01-12"
    assert newest["bytes"] > 5000 and document["damaged"] == {}
    assert [row["served"] for row in document["versions"]] == [False, True, False]
    assert (newest["model_version"], newest["refreshed_from"]) == (3, None)


def test_a_refresh_shows_whose_model_it_holds(serving, tmp_path):
    request = make_request(tmp_path, "new items", refreshed_from=3, model_version=3)
    push(request, blessed=True)
    newest = json.loads(call("--serving-dir", serving, "--json").stdout)["versions"][0]
    assert (newest["version"], newest["refreshed_from"], newest["model_version"]) == (4, 3, 3)


def test_a_label_without_its_version_is_named(serving):
    write_pins(serving / "demo", Pins(labels={"stable": 9}))
    result = call("--serving-dir", serving)
    assert result.exit_code == 1 and "label 'stable' names it" in result.stdout


def test_verify_finds_the_damaged_version_and_exits_with_1(serving):
    (serving / "demo/2/items.parquet").write_bytes(b"owt")
    assert call("--serving-dir", serving).exit_code == 0
    result = call("--serving-dir", serving, "--verify")
    assert result.exit_code == 1
    assert "version 2 is damaged" in result.stdout and "items.parquet" in result.stdout
    rows = json.loads(call("--serving-dir", serving, "--verify", "--json").stdout)["versions"]
    assert [row["valid"] for row in rows] == [True, False, True]


def test_an_integer_folder_without_a_manifest_is_named(serving):
    (serving / "demo/9").mkdir()
    result = call("--serving-dir", serving)
    assert result.exit_code == 1 and "version 9 is damaged" in result.stdout


@pytest.mark.parametrize("after", [True, False])
def test_a_version_is_pinned_and_unpinned(serving, after):
    place = ("--serving-dir", serving, "--name", "demo")
    words = ("pin", "2", *place) if after else (*place, "pin", "2")
    assert call(*words).exit_code == 0
    assert read_pins(serving / "demo").pinned == (2,)
    words = ("unpin", "2", *place) if after else (*place, "unpin", "2")
    assert call(*words).exit_code == 0
    assert read_pins(serving / "demo").pinned == ()


def test_a_version_that_is_not_there_cannot_be_pinned(serving):
    with pytest.raises(BundleError, match="no version 7; published: 1, 2, 3"):
        call("--serving-dir", serving, "pin", "7")
    with pytest.raises(BundleError, match="not pinned"):
        call("--serving-dir", serving, "unpin", "3")


def test_a_configuration_says_where_the_versions_are(serving, tmp_path):
    conf = tmp_path / "conf.yaml"
    conf.write_text(f"name: demo\nserving_dir: {serving}\ndata: {{root: x}}\n")
    assert "2025-01-12" in call("--conf", conf).stdout


def test_wrong_places_are_named(serving, tmp_path):
    assert call().exit_code == 2
    with pytest.raises(BundleError, match="no such folder"):
        call("--serving-dir", tmp_path / "nowhere")
    with pytest.raises(BundleError, match="no published version"):
        call("--serving-dir", tmp_path / "index-one")
    (serving / "other").symlink_to(serving / "demo")
    with pytest.raises(BundleError, match="choose with --name"):
        call("--serving-dir", serving)
