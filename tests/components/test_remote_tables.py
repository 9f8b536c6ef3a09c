"""RetrievalExampleGen, CatalogueGen and BundleSource over tables and bundles under URLs."""

import json
import logging

import pytest
from tfx.orchestration.portable import data_types
from tfx.types import standard_artifacts

from components.artifacts import Blessing, Bundle, DataReport, Evaluation
from components.bundle.manifest import read_manifest
from components.config import ExampleGenConfig
from components.example_gen.driver import Driver
from components.example_gen.executor import Executor
from components.example_gen.window import resolve
from components.pusher.executor import manifest_fields
from components.refresh.bundle_source.executor import Executor as SourceExecutor
from components.refresh.catalogue_gen.config import CatalogueGenConfig
from components.refresh.catalogue_gen.window import resolve as resolve_items
from components.refresh.index_refresh.keep import index_files, keep
from core.errors import BundleError, ConfigError, DataError
from core.storage import ObjectStore
from input_tables.config import DataConfig
from tests.components.bundle_fixtures import snapshot
from tests.components.example_gen_oracle import DAY, Event, Rules
from tests.components.example_gen_tables import config_for, write_csv
from tests.components.refresh_world import publish_world
from tests.components.store_fixtures import memory_keys, memory_url
from tests.object_store import s3, s3_server  # noqa: F401 - fixtures

logging.getLogger("werkzeug").setLevel(logging.ERROR)
START = 1_704_067_200  # 2024-01-01


def deliver(root, bad=0):
    """Three days of engagements; `bad` rows of the last one have no time."""
    for day in (1, 2, 3):
        noon = START + (day - 1) * DAY + DAY // 2
        rows = [Event(f"u{k}", f"i{k}", noon + k, "like") for k in range(6)]
        rows += [Event("u1", "i1", "noon", "like")] * (bad if day == 3 else 0)
        span = f"span=2024-01-{day:02d}/part-0.csv"
        write_csv(root / "engagements" / span, "engagements", rows)
        write_csv(root / "items" / span, "items", [(f"i{k}", "t") for k in range(6)])
        write_csv(root / "follows" / span, "follows", [("u1", "t", noon, None)])
    return root


def configuration(**changes):
    return config_for(
        "not-used",
        Rules(strategy="time", repeats="keep"),
        data={"root": "not-used", "window_days": 2},
        time_unit="seconds",
        **changes,
    )


def run(root, out, run_date="2024-01-04-1d", kept="", **changes):
    """Runs driver and executor of RetrievalExampleGen as TFX does; returns the examples."""
    config: ExampleGenConfig = configuration(**changes)
    properties = {
        "data_root": str(root),
        "run_date": run_date,
        "config_json": config.canonical_json(),
        "dead_letter_dir": kept or str(out / "kept"),
    }
    info = data_types.ExecutionInfo(exec_properties=properties)
    found = Driver(None).run(info).exec_properties["input_fingerprint"].string_value
    examples, report = standard_artifacts.Examples(), DataReport()
    examples.uri, report.uri = str(out / "examples"), str(out / "report")
    context = Executor.Context(
        beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=none"],
        tmp_dir=str(out / "tmp"),
        unique_id="1",
    )
    # Without the driver's fingerprint, as on Kubeflow.
    Executor(context).Do({}, {"examples": [examples], "report": [report]}, properties)
    assert examples.get_string_custom_property("fingerprint") == found
    return examples


def test_examples_of_a_url_are_those_of_a_folder(tmp_path, s3):  # noqa: F811
    deliver(tmp_path / "tables", bad=1)
    url = s3.put_tree(tmp_path / "tables", s3.fresh())
    here = run(tmp_path / "tables", tmp_path / "here", max_bad_share=0.5)
    there = run(url, tmp_path / "there", max_bad_share=0.5)
    assert snapshot(tmp_path / "there/examples") == snapshot(tmp_path / "here/examples")
    assert there.get_string_custom_property("run_date") == "2024-01-03"
    assert there.get_string_custom_property("data_root") == url
    assert here.get_string_custom_property("data_root") == str(tmp_path / "tables")
    letters = [
        json.loads(line)
        for path in (tmp_path / "there/report/dead_letter").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert [letter["file"] for letter in letters] == [
        f"{url}/engagements/span=2024-01-03/part-0.csv"
    ]


def test_dead_letters_of_a_run_that_is_stopped_go_to_the_url(tmp_path, s3):  # noqa: F811
    url = s3.put_tree(deliver(tmp_path / "tables", bad=3), s3.fresh())
    kept = s3.fresh()
    ObjectStore(kept).write("rows-of-an-earlier-run.jsonl", b"{}")
    ObjectStore(kept).write("notes.txt", b"stays")
    with pytest.raises(DataError) as caught:
        run(url, tmp_path / "out", kept=kept)
    text = str(caught.value)
    assert f"All of them: {kept}" in text
    assert f"{url}/engagements/span=2024-01-03/part-0.csv:8: " in text
    assert str(tmp_path) not in text and "/tmp" not in text
    files = s3.keys(kept)
    lines = [line for n, v in files.items() if n.endswith(".jsonl") for line in v.splitlines()]
    assert len(lines) == 3 and files["notes.txt"] == b"stays"
    assert "rows-of-an-earlier-run.jsonl" not in files


def test_dead_letters_that_can_not_be_kept_do_not_hide_the_bad_rows(tmp_path, s3):  # noqa: F811
    with pytest.raises(
        DataError, match=r"(?s)too many rows .*not kept \(s3://nobody-has-this.*:8: "
    ):
        deliver(tmp_path / "tables", bad=3)
        run(tmp_path / "tables", tmp_path / "out", kept="s3://nobody-has-this/letters")


def test_a_missing_span_of_a_url_stops_the_run(tmp_path, s3):  # noqa: F811
    url = s3.put_tree(deliver(tmp_path / "tables"), s3.fresh())
    with pytest.raises(DataError, match=f"{url}/engagements/span=2024-01-04"):
        run(url, tmp_path / "out", run_date="2024-01-04")
    assert not (tmp_path / "out").exists()


def test_a_macro_that_nobody_replaced_stops_the_run(tmp_path):
    macro = "[[ScheduledTime.2006-01-02]]"
    for find, config in (
        (resolve, configuration()),
        (resolve_items, CatalogueGenConfig(data=DataConfig(root="not-used"))),
    ):
        with pytest.raises(ConfigError, match="scheduler has not replaced"):
            find(config, {"data_root": str(tmp_path), "run_date": macro})


def test_a_refresh_reads_the_items_of_a_url_and_nothing_else(tmp_path, s3):  # noqa: F811
    url = s3.put_tree(deliver(tmp_path / "tables"), s3.fresh())
    config = CatalogueGenConfig(data=DataConfig(root="not-used"))
    given = {"run_date": "2024-01-03"}
    s3.faults.reset()
    there = resolve_items(config, {"data_root": url, **given})
    assert [path[-35:] for _, path in s3.faults.seen if path.endswith(".csv")] == [
        f"{url}/items/span=2024-01-03/part-0.csv"[-35:]
    ]
    here = resolve_items(config, {"data_root": str(tmp_path / "tables"), **given})
    assert there.fingerprint == here.fingerprint and there.run_date == "2024-01-03"


@pytest.mark.parametrize(("given", "expected"), [("", "s3://b/tables"), ("/mine", "/mine")])
def test_the_manifest_names_the_root_that_the_examples_came_from(given, expected):
    examples = standard_artifacts.Examples()
    examples.set_string_custom_property("data_root", "s3://b/tables")
    fields = manifest_fields(json.dumps({"data_root": given}), {"examples": [examples]})
    assert fields.data_root == expected


def test_a_bundle_source_takes_a_bundle_from_a_url(tmp_path):
    version, store = publish_world(tmp_path), ObjectStore(memory_url())
    serving = tmp_path / "serving"
    for path in serving.rglob("*"):
        if path.is_file() and not path.is_symlink() and "scann/" not in str(path):
            store.write(path.relative_to(serving).as_posix(), path.read_bytes())
    out = {"model": standard_artifacts.Model(), "bundle": Bundle(), "evaluation": Evaluation()}
    out["blessing"] = Blessing()
    for name, artifact in out.items():
        artifact.uri = str(tmp_path / "out" / name)
        (tmp_path / "out" / name).mkdir(parents=True)
    digest = read_manifest(version).manifest_digest
    before = memory_keys(store.url)
    SourceExecutor().Do(
        {},
        {name: [artifact] for name, artifact in out.items()},
        {"serving_dir": store.url, "name": "world", "version": 1, "manifest_digest": digest},
    )
    source = json.loads((tmp_path / "out/bundle/source.json").read_text())
    assert source == {"version": 1, "path": f"{store.url}/world/1"}
    assert (tmp_path / "out/model/Format-Serving/saved_model.pb").exists()
    assert memory_keys(store.url) == before

    keep(tmp_path / "out/bundle", tmp_path / "kept")  # as a refresh without changes does
    for name, target in index_files(read_manifest(version)).items():
        assert (tmp_path / "kept" / target).read_bytes() == (version / name).read_bytes()
    store.delete(["world/1/saved_model.pb", "world/1/manifest.json"])
    with pytest.raises(BundleError, match=store.url):
        keep(tmp_path / "out/bundle", tmp_path / "again")
