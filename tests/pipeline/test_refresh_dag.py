"""What a refresh is planned with, its pipeline's shape and what its manifest says."""

import datetime as dt
import json
import shutil

import pytest
from tfx.orchestration.pipeline import Pipeline

from components.baseline_resolver.resolve import candidates
from components.bundle.manifest import read_manifest
from components.bundle.pins import Pins, write_pins
from components.pusher.push import push
from core.errors import BundleError, ConfigError, DataError
from pipeline.config import RunConfig
from pipeline.dag import Paths, build_components
from pipeline.local.preflight import check_before_run
from pipeline.refresh.dag import build_refresh_components
from pipeline.refresh.fields import manifest_fields, pusher_config
from pipeline.refresh.resolve import resolve_refresh
from tests.components.bundle_fixtures import make_request

PATHS = Paths("/tables", "/serving", "/schema.pbtxt", "", "/checkpoints", "/dead_letters")
RECORDED = {
    "model": {"embedding_dim": 16},
    "transform": {"history_max_items": 20},
    "retrieval": {"num_results": 120, "explicit_share": 0.2},
    "index": {"recall_target": 0.9},
    "pusher": {"keep_versions": 3},
    "examples": {"max_bad_share": 0.02, "negative_actions": ["hide"]},
}


def publish(root, content="one", **fields):
    given = {"config": RECORDED, "training_digest": "t" * 16, "data_root": "/trained"} | fields
    return push(make_request(root, content, **given), blessed=True).destination


def refresh_config(root, **more):
    tree = {
        "pipeline": "refresh",
        "name": "demo",
        "serving_dir": str(root / "serving"),
        "data": {"root": "/tables"},
    }
    return RunConfig.model_validate(tree | more)


def test_without_labels_the_newest_version_is_refreshed_and_with_them_the_stable_one(tmp_path):
    for content in ("one", "two", "three"):
        publish(tmp_path, content)
    model_dir = tmp_path / "serving" / "demo"
    assert resolve_refresh(refresh_config(tmp_path)).parent.version == 3
    write_pins(model_dir, Pins(labels={"stable": 1, "canary": 2}))
    refresh = resolve_refresh(refresh_config(tmp_path))
    assert (refresh.parent.version, refresh.served_labels) == (1, {"stable": 1, "canary": 2})
    write_pins(model_dir, Pins(labels={"blue": 2}))
    assert resolve_refresh(refresh_config(tmp_path)).parent.version == 2
    wanted = refresh_config(tmp_path, refresh={"version": 1})
    assert resolve_refresh(wanted).parent.version == 1


def test_what_is_not_published_is_refused_with_what_is(tmp_path):
    with pytest.raises(BundleError, match=r"serving/demo: no such folder.*whole pipeline first"):
        resolve_refresh(refresh_config(tmp_path))
    (tmp_path / "serving" / "demo").mkdir(parents=True)
    with pytest.raises(BundleError, match=r"no published version.*whole pipeline first"):
        resolve_refresh(refresh_config(tmp_path))
    publish(tmp_path)
    with pytest.raises(BundleError, match=r"refresh\.version is 7.*published: 1"):
        resolve_refresh(refresh_config(tmp_path, refresh={"version": 7}))


def test_a_labelled_version_that_is_gone_or_damaged_is_never_replaced_by_another(tmp_path):
    for content in ("one", "two"):
        publish(tmp_path, content)
    write_pins(tmp_path / "serving" / "demo", Pins(labels={"stable": 1}))
    manifest = tmp_path / "serving" / "demo" / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("/trained", "/other"))
    with pytest.raises(BundleError, match=r"version 1 is served, but.*changed after publishing"):
        resolve_refresh(refresh_config(tmp_path))
    shutil.rmtree(manifest.parent)
    with pytest.raises(BundleError, match=r"version 1 is served, but.*published: 2"):
        resolve_refresh(refresh_config(tmp_path))


def test_settings_are_the_recorded_ones_but_for_those_the_refresh_names(tmp_path):
    publish(tmp_path)
    given = refresh_config(tmp_path, retrieval={"explicit_share": 0.4}, work_dir="/w")
    config = resolve_refresh(given).config
    assert config.retrieval.explicit_share == 0.4
    assert config.retrieval.num_results == 120  # not the default
    assert config.index.recall_target == 0.9
    assert config.pusher.keep_versions == 3
    assert config.model.embedding_dim == 16
    assert config.examples.max_bad_share == 0.02
    assert (config.pipeline, config.work_dir, config.data.root) == ("refresh", "/w", "/tables")


def test_keys_that_only_a_training_could_follow_are_named_where_they_differ(tmp_path):
    publish(tmp_path)
    given = refresh_config(
        tmp_path,
        model={"embedding_dim": 32},
        transform={"history_max_items": 20},
        trainer={"epochs": 9},
        examples={"max_bad_share": 0.3},
    )
    refresh = resolve_refresh(given)
    assert refresh.ignored[0] == "model.embedding_dim=32 (published: 16)"
    assert len(refresh.ignored) == 2 and refresh.ignored[1].startswith("trainer.epochs=9")
    assert refresh.config.model.embedding_dim == 16
    assert refresh.config.examples.max_bad_share == 0.3
    assert refresh.config.examples.negative_actions == ("hide",)


def test_fewer_results_than_the_published_evaluation_measured_are_allowed(tmp_path):
    publish(tmp_path)
    refresh = resolve_refresh(refresh_config(tmp_path, retrieval={"num_results": 50}))
    assert refresh.config.retrieval.num_results == 50
    with pytest.raises(ConfigError, match=r"refresh, completed by .*/demo/1"):
        resolve_refresh(refresh_config(tmp_path, retrieval={"max_results": 110}))


def test_settings_that_this_version_does_not_know_are_an_error_that_says_so(tmp_path):
    publish(tmp_path, config={"retrieval": {"of_another_time": 1}})
    with pytest.raises(BundleError, match=r"(?s)version 1 recorded do not fit.*of_another_time"):
        resolve_refresh(refresh_config(tmp_path))


@pytest.fixture
def planned(tmp_path):
    publish(tmp_path, run_date="2024-02-28", baseline_version=9, data_fingerprint="f")
    refresh = resolve_refresh(refresh_config(tmp_path))
    nodes = build_refresh_components(refresh, PATHS)
    Pipeline(pipeline_name="p", pipeline_root="unused", components=nodes)
    return refresh, {node.id: node for node in nodes}


def test_nothing_is_trained_and_nothing_is_pushed_before_it_is_validated(planned):
    _, nodes = planned
    assert list(nodes) == [
        "BundleSource", "CatalogueGen", "IndexBuilder", "ServingValidator", "Pusher",
    ]  # fmt: skip
    above = {parent.id for parent in nodes["Pusher"].upstream_nodes}
    assert above == {"BundleSource", "IndexBuilder", "ServingValidator"}
    seen = set()
    for node in nodes.values():
        assert {parent.id for parent in node.upstream_nodes} <= seen
        seen.add(node.id)


def test_the_very_bundle_is_part_of_the_cache_key(planned, tmp_path):
    refresh, nodes = planned
    source = nodes["BundleSource"].exec_properties
    assert source["version"] == 1
    assert source["manifest_digest"] == refresh.parent.manifest.manifest_digest
    for node in nodes.values():
        assert len(node.exec_properties["code_digest"]) == 16, node.id


def test_a_refresh_says_of_its_code_what_a_training_says(planned):
    _, nodes = planned
    config = RunConfig.model_validate({"data": {"root": "/tables"}})
    (trained,) = [node for node in build_components(config, PATHS) if node.id == "Pusher"]
    ours = json.loads(nodes["Pusher"].exec_properties["manifest_json"])
    theirs = json.loads(trained.exec_properties["manifest_json"])
    assert ours["code_digest"] == theirs["code_digest"]
    assert nodes["IndexBuilder"].exec_properties["published_code"] == theirs["code_digest"]


def test_the_manifest_tells_of_the_model_as_the_parents_does_and_where_it_came_from(planned):
    refresh, _ = planned
    parent = refresh.parent.manifest
    fields = manifest_fields(refresh, "c" * 16)
    same = ("training_digest", "span", "run_date", "data_fingerprint", "data_root", "time_unit",
            "primary_metric", "baseline_version")  # fmt: skip
    for name in same:
        assert getattr(fields, name) == getattr(parent, name), name
    assert (fields.refreshed_from, fields.model_version) == (1, 1)
    assert fields.config["retrieval"]["num_results"] == 120


def test_a_refresh_of_a_refresh_still_names_the_version_of_the_model(tmp_path):
    publish(tmp_path, "one")
    publish(tmp_path, "two", refreshed_from=1, model_version=1)
    fields = manifest_fields(resolve_refresh(refresh_config(tmp_path)), "c")
    assert (fields.refreshed_from, fields.model_version) == (2, 1)


@pytest.mark.parametrize("day", ["2024-02-28", ""])
def test_a_later_training_finds_the_refreshed_version_where_it_would_have_found_the_parent(
    tmp_path, day
):
    publish(tmp_path, "one", run_date=day, data_fingerprint="first")
    refresh = resolve_refresh(refresh_config(tmp_path))
    fields = manifest_fields(refresh, "c").model_dump()
    again = push(make_request(tmp_path, "new items", **fields), blessed=True).destination
    assert read_manifest(again).run_date == day
    model_dir = tmp_path / "serving" / "demo"
    span = (dt.date(2024, 2, 29) - dt.date(1970, 1, 1)).days if day else None

    def found(digest, fingerprint, at):
        return [v.version for v in candidates(model_dir, digest, at, fingerprint)]

    assert found("t" * 16, "second", span) == [2, 1]
    # The same training on the same data sees neither, as before the refresh.
    assert found("t" * 16, "first", span - 1 if day else None) == []


def test_an_older_day_may_be_refreshed_with_labels_or_by_its_number(tmp_path):
    publish(tmp_path, "one", run_date="2024-02-28")
    publish(tmp_path, "two", run_date="2024-02-29")
    assert not pusher_config(resolve_refresh(refresh_config(tmp_path))).allow_older_span
    by_number = refresh_config(tmp_path, refresh={"version": 1})
    assert pusher_config(resolve_refresh(by_number)).allow_older_span
    write_pins(tmp_path / "serving" / "demo", Pins(labels={"stable": 1}))
    assert pusher_config(resolve_refresh(refresh_config(tmp_path))).allow_older_span


def test_a_refresh_needs_an_items_table_and_no_other(tmp_path):
    config = refresh_config(tmp_path, data={"root": str(tmp_path)})
    with pytest.raises(DataError, match="no items table found"):
        check_before_run(config)
    (tmp_path / "items.csv").write_text("item_id,topics\n")
    check_before_run(config)
