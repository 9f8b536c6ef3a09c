"""`tessera promote` and `tessera rollback`."""

import json

import pytest
from click.testing import CliRunner
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.config import model_server_config_pb2

from cli.promote import promote
from cli.rollback import rollback
from components.bundle import Pins, list_versions, read_pins, write_pins
from components.bundle.labels import cleared, promoted, rolled_back
from components.bundle.lock import push_lock
from components.bundle.served import Served, served, served_of
from components.pusher.push import push
from core.errors import BundleError, ConfigError, PushError
from tests.components.bundle_fixtures import make_request, snapshot


@pytest.fixture
def serving(tmp_path):
    for content in ("one", "two", "three"):
        push(make_request(tmp_path, content), blessed=True)
    return tmp_path / "serving"


def call(command, serving, *arguments):
    words = ["--serving-dir", serving, *arguments]
    result = CliRunner().invoke(command, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def config(serving, name="models.config"):
    """Entries of a configuration by name of the model, as TensorFlow Serving parses them."""
    parsed = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((serving / name).read_text(), parsed)
    return {entry.name: entry for entry in parsed.model_config_list.config}


def test_without_labels_the_newest_version_is_served_by_the_server_itself(serving):
    assert served(serving / "demo") == Served((3,), {})
    plain, scann = config(serving)["demo"], config(serving, "models-scann.config")["demo"]
    assert plain.base_path == str(serving / "demo")
    assert scann.base_path == str(serving / "demo/scann")
    for entry in (plain, scann):
        assert entry.model_platform == "tensorflow" and not entry.version_labels
        assert entry.model_version_policy.latest.num_versions == 1


def test_a_promoted_version_is_the_only_one_that_is_served(serving):
    result = call(promote, serving, "2")
    assert result.exit_code == 0 and "demo serves version 2 (stable)" in result.stdout
    assert served(serving / "demo") == Served((2,), {"stable": 2})
    for name in ("models.config", "models-scann.config"):
        entry = config(serving, name)["demo"]
        assert list(entry.model_version_policy.specific.versions) == [2]
        assert dict(entry.version_labels) == {"stable": 2}


def test_a_canary_goes_out_becomes_stable_and_is_rolled_back(serving):
    call(promote, serving, "2")
    call(promote, serving, "3", "--label", "canary")
    assert served(serving / "demo") == Served((2, 3), {"canary": 3, "stable": 2})
    call(promote, serving, "3")
    call(promote, serving, "--clear", "canary")
    assert served(serving / "demo") == Served((3,), {"stable": 3})
    result = call(rollback, serving)
    assert "demo serves version 2 (stable)" in result.stdout
    assert served(serving / "demo") == Served((2,), {"stable": 2})


@pytest.mark.fault(62)
def test_a_rollback_takes_a_canary_away_before_it_moves_stable(serving):
    call(promote, serving, "2")
    call(promote, serving, "3", "--label", "canary")
    call(rollback, serving)
    assert served(serving / "demo") == Served((2,), {"stable": 2})
    call(rollback, serving)
    assert served(serving / "demo") == Served((1,), {"stable": 1})


def test_a_rollback_goes_to_what_was_served_before_not_to_the_number_below(serving):
    call(promote, serving, "1")
    call(promote, serving, "3")
    assert read_pins(serving / "demo").previous == 1
    call(rollback, serving)
    assert served(serving / "demo").labels == {"stable": 1}


def test_a_rollback_to_a_given_version_removes_the_labels_of_later_ones(serving):
    call(promote, serving, "1", "--label", "old-taste")
    call(promote, serving, "3", "--label", "canary")
    assert served(serving / "demo").labels == {"canary": 3, "old-taste": 1, "stable": 3}
    result = call(rollback, serving, "--to", "2", "--json")
    document = json.loads(result.stdout)
    assert document["served"] == {"versions": [1, 2], "labels": {"old-taste": 1, "stable": 2}}
    assert document["decided_by"] == "labels"
    assert document["models_config"] == str(serving / "models.config")


def test_the_first_label_keeps_what_was_served(serving):
    call(promote, serving, "1", "--label", "canary")
    assert served(serving / "demo") == Served((1, 3), {"canary": 1, "stable": 3})


def test_a_new_version_waits_for_its_promotion_until_labels_are_cleared(serving, tmp_path):
    call(promote, serving, "2")
    push(make_request(tmp_path, "four"), blessed=True)
    assert served(serving / "demo").versions == (2,)
    result = call(promote, serving, "--clear")
    assert "demo serves version 4" in result.stdout and "newest" in result.stdout
    assert served(serving / "demo") == Served((4,), {})
    assert config(serving)["demo"].model_version_policy.HasField("latest")


def test_stable_can_not_be_cleared_alone(serving):
    call(promote, serving, "3", "--label", "canary")
    with pytest.raises(BundleError, match="canary stay"):
        call(promote, serving, "--clear", "stable")
    with pytest.raises(BundleError, match=r"no label 'x' is set; set are: canary \(version 3\)"):
        call(promote, serving, "--clear", "x")


@pytest.mark.parametrize("label", ["", "a/b", "a:b", "-x", "ä", "x" * 64, "a b"])
def test_a_label_that_no_url_can_carry_is_refused(serving, label):
    with pytest.raises(ConfigError, match="becomes a part of a URL"):
        call(promote, serving, "2", "--label", label)


def test_the_folder_as_a_container_sees_it_is_remembered(serving, tmp_path):
    call(promote, serving, "--base-path", "/models/")
    assert config(serving)["demo"].base_path == "/models/demo"
    push(make_request(tmp_path, "four"), blessed=True)
    call(promote, serving, "4")
    assert config(serving)["demo"].base_path == "/models/demo"
    assert config(serving, "models-scann.config")["demo"].base_path == "/models/demo/scann"
    call(promote, serving, "--base-path", "")
    assert config(serving)["demo"].base_path == str(serving / "demo")


def test_one_configuration_covers_all_models_of_a_folder(serving, tmp_path):
    from dataclasses import replace

    other = replace(make_request(tmp_path, "other"), name="other")
    for path in other.index_dir.glob("*scann*/**/*"):
        if path.is_file():
            path.unlink()
    push(other, blessed=True)
    call(promote, serving, "2", "--name", "demo")
    entries = config(serving)
    assert set(entries) == {"demo", "other"}
    assert entries["other"].model_version_policy.latest.num_versions == 1
    assert set(config(serving, "models-scann.config")) == {"demo"}  # `other` has no ScaNN
    before = snapshot(serving)
    (serving / "other/pins.json").write_text("{")
    with pytest.raises(BundleError, match=r"other/pins\.json"):
        call(promote, serving, "3", "--name", "demo")
    (serving / "other/pins.json").unlink()
    assert snapshot(serving) == before


def test_an_exact_version_takes_part_in_the_links_of_scann(serving, tmp_path):
    request = make_request(tmp_path, "exact")
    for path in request.index_dir.glob("*scann*/**/*"):
        if path.is_file():
            path.unlink()
    push(request, blessed=True)
    links = {path.name: str(path.readlink()) for path in (serving / "demo/scann").iterdir()}
    scann = {str(n): f"../{n}/retriever_scann" for n in (1, 2, 3)}
    assert links == scann | {"4": "../4"}


def test_a_move_that_a_running_server_refuses_is_noted(serving):
    def noted(command, *words):
        return bool(json.loads(call(command, serving, *words, "--json").stdout)["notes"])

    assert not noted(promote, "2")  # a new label
    assert noted(promote, "3")  # `stable` in use, 3 not loaded
    assert "note: a running TensorFlow Serving" in call(rollback, serving).stdout
    assert not noted(promote, "3", "--label", "canary")
    assert not noted(promote, "3")  # loaded as canary
    assert noted(rollback) and not noted(promote, "--clear")


@pytest.mark.parametrize("command", [promote, rollback])
def test_somebody_who_publishes_is_waited_for_and_named(serving, command):
    words = ["2"] if command is promote else []
    with push_lock(serving / "demo", 0), pytest.raises(PushError, match="holds the lock"):
        call(command, serving, *words, "--wait-s", "0.1")
    assert served(serving / "demo") == Served((3,), {})


@pytest.mark.parametrize(
    "words",
    [(), ("2", "--clear"), ("--label", "x"), ("--server", "h:1"), ("0",), ("two",)],
)
def test_unclear_calls_are_usage_errors(serving, words):
    assert call(promote, serving, *words).exit_code == 2


def test_a_version_that_is_not_there_is_named(serving):
    for words in (["9"], ["9", "--label", "canary"]):
        with pytest.raises(BundleError, match="no version 9; published: 1, 2, 3"):
            call(promote, serving, *words)
    with pytest.raises(BundleError, match="no version 9"):
        call(rollback, serving, "--to", "9")


def test_nothing_is_served_where_nothing_is_published(tmp_path):
    assert served(tmp_path / "none") == Served((), {})
    with pytest.raises(BundleError, match="nothing to go back to"):
        rolled_back(Pins(), [], None)


def test_a_label_whose_version_was_removed_is_still_what_is_served(serving):
    write_pins(serving / "demo", Pins(labels={"stable": 9}))
    assert served(serving / "demo") == Served((9,), {"stable": 9})


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("promote"), st.integers(1, 3), st.sampled_from(["stable", "canary", "x"])
        ),
        st.tuples(st.just("rollback"), st.none() | st.integers(1, 3), st.just("")),
        st.tuples(st.just("clear"), st.none(), st.sampled_from(["", "stable", "canary", "x"])),
    ),
    max_size=8,
)


@given(steps=steps)
def test_whatever_is_done_stable_is_set_and_every_label_names_a_version(serving, steps):
    versions, pins = list_versions(serving / "demo"), Pins()
    for what, version, label in steps:
        before = pins
        try:
            if what == "promote":
                pins = promoted(pins, versions, version, label)
                assert pins.labels[label] == version
            elif what == "rollback":
                pins = rolled_back(pins, versions, version)
                now = served_of(pins, (1, 2, 3))
                assert now.default == now.labels["stable"]
                if version is None:
                    assert now.default != served_of(before, (1, 2, 3)).default
            else:
                pins = cleared(pins, label or None)
        except BundleError:
            assert pins is before
        now = served_of(pins, (1, 2, 3))
        assert (
            now.versions
            and set(now.versions) <= {1, 2, 3}
            and set(now.versions) <= (set(pins.kept) or {3})
        )
        assert not pins.labels or "stable" in pins.labels
