"""Which bundle becomes the baseline, and what later components find of it."""

import json
import logging

import pytest

from components.baseline_resolver.resolve import resolve, write_outputs
from components.bundle import verify
from components.bundle.pins import Pins, write_pins
from components.pusher.push import push
from tests.components.bundle_fixtures import WARM_FILES, make_request


@pytest.fixture
def model_dir(tmp_path):
    for content, span in (("one", 100), ("two", 101), ("three", 102)):
        request = make_request(tmp_path, content, span=span, training_digest=f"digest-{span}")
        push(request, blessed=True)
    return tmp_path / "serving/demo"


def test_the_newest_version_of_an_earlier_span_is_the_baseline(model_dir):
    assert resolve(model_dir, "digest-103", 103).found.version == 3
    assert resolve(model_dir, "another", 102).found.version == 2


def test_after_a_rollback_the_served_version_is_the_baseline_not_the_newest(model_dir):
    write_pins(model_dir, Pins(labels={"stable": 1}, previous=3))
    assert resolve(model_dir, "digest-103", 103).found.version == 1
    # A day at which it was not there yet: as without labels.
    write_pins(model_dir, Pins(labels={"stable": 3}, previous=2))
    assert resolve(model_dir, "digest-102", 102).found.version == 2
    assert resolve(model_dir, "digest-101", 101).found.version == 1


def test_what_was_served_before_is_next_where_the_served_one_is_of_the_same_day(
    model_dir, tmp_path
):
    """A run that is repeated after its version was promoted sees the same baseline again."""
    write_pins(model_dir, Pins(labels={"stable": 1}))
    before = resolve(model_dir, "digest-103", 103).found
    push(make_request(tmp_path, "four", span=103, training_digest="digest-103"), blessed=True)
    write_pins(model_dir, Pins(labels={"stable": 4}, previous=1))
    assert resolve(model_dir, "digest-103", 103).found == before


def test_a_served_version_that_is_damaged_is_passed_over(model_dir):
    (model_dir / "1/saved_model.pb").write_bytes(b"broken")
    write_pins(model_dir, Pins(labels={"canary": 1}))
    assert resolve(model_dir, "digest-103", 103).found.version == 3


def test_a_rerun_of_a_span_sees_the_same_baseline_as_its_first_run(model_dir, tmp_path):
    before = resolve(model_dir, "digest-103", 103).found
    request = make_request(tmp_path, "four", span=103, training_digest="digest-103")
    push(request, blessed=True)
    assert resolve(model_dir, "digest-103", 103).found == before


def test_the_same_configuration_on_an_earlier_span_is_a_baseline(model_dir):
    assert resolve(model_dir, "digest-102", 103).found.version == 3


def test_without_spans_the_same_training_on_other_data_is_compared_with(tmp_path):
    fields = {"training_digest": "a", "data_fingerprint": "monday"}
    push(make_request(tmp_path, "one", **fields), blessed=True)
    model_dir = tmp_path / "serving/demo"
    assert resolve(model_dir, "a", None, "monday").found is None
    baseline = resolve(model_dir, "a", None, "tuesday")
    assert (baseline.found.version, baseline.warm_start) == (1, False)


def test_without_spans_another_training_is_compared_with_but_not_started_from(tmp_path):
    for content, digest in (("one", "a"), ("two", "b")):
        push(make_request(tmp_path, content, training_digest=digest), blessed=True)
    model_dir = tmp_path / "serving/demo"
    assert resolve(model_dir, "b", None).found.version == 1
    baseline = resolve(model_dir, "c", None)
    assert (baseline.found.version, baseline.warm_start) == (2, False)
    write_outputs(baseline, tmp_path / "baseline", tmp_path / "base_model")
    assert verify(tmp_path / "baseline/bundle").version == 2
    assert (tmp_path / "base_model/NO_BASELINE").exists()
    assert not (tmp_path / "base_model/Format-Serving").exists()


def test_the_first_run_has_none(tmp_path, model_dir):
    assert resolve(tmp_path / "nowhere", "x", 1).found is None
    baseline = resolve(model_dir, "x", 100)
    assert baseline.found is None and "before 1970-04-11" in baseline.reason


@pytest.mark.parametrize("victim", ["items.parquet", "manifest.json"])
def test_a_damaged_newest_bundle_is_skipped_with_a_logged_reason(model_dir, caplog, victim):
    (model_dir / "3" / victim).write_bytes(b"broken")
    with caplog.at_level(logging.WARNING, logger="tessera"):
        baseline = resolve(model_dir, "x", 200)
    assert baseline.found.version == 2
    assert "version 3 is skipped" in caplog.text and victim in caplog.text


def test_when_all_are_damaged_there_is_none(model_dir):
    for version in "123":
        (model_dir / version / "index.json").unlink()
    baseline = resolve(model_dir, "x", 200)
    assert baseline.found is None and "damaged" in baseline.reason


def test_a_found_baseline_is_copied_with_its_warm_start(model_dir, tmp_path):
    baseline = resolve(model_dir, "x", 200)
    write_outputs(baseline, tmp_path / "baseline", tmp_path / "base_model")
    assert verify(tmp_path / "baseline/bundle").version == 3
    for name, content in WARM_FILES.items():
        path = tmp_path / "base_model/Format-Serving/warm_start" / name
        assert path.read_bytes() == content
    assert json.loads((tmp_path / "baseline/baseline.json").read_text())["version"] == 3


def test_without_a_baseline_markers_are_written(tmp_path):
    baseline = resolve(tmp_path / "nowhere", "x", 1)
    write_outputs(baseline, tmp_path / "baseline", tmp_path / "base_model")
    assert json.loads((tmp_path / "baseline/baseline.json").read_text())["found"] is False
    assert (tmp_path / "base_model/NO_BASELINE").read_text().startswith("nothing to start from")
    assert not (tmp_path / "base_model/Format-Serving").exists()


def test_writing_twice_is_the_same_as_writing_once(model_dir, tmp_path):
    baseline = resolve(model_dir, "x", 200)
    for _ in range(2):
        write_outputs(baseline, tmp_path / "baseline", tmp_path / "base_model")
    verify(tmp_path / "baseline/bundle")
    assert not (tmp_path / "base_model/NO_BASELINE").exists()
