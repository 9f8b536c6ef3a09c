"""A refresh is one task that is planned when it starts; its file keeps every rule."""

import datetime as dt
import json
from pathlib import Path

import pytest

from components.artifacts import PushedBundle
from core.errors import BundleError, ConfigError, PushError
from kubeflow_pipelines.compile.compiler import compile_pipeline
from kubeflow_pipelines.compile.document import dump
from kubeflow_pipelines.compile.finalize import container_tasks
from kubeflow_pipelines.parameters import pipeline_name
from kubeflow_pipelines.refresh import executor
from pipeline.config import load_config
from pipeline.local.runner import RunResult
from tests.kubeflow_pipelines.compile.conftest import IMAGE, REPOSITORY


def refresh_config(*overrides):
    path = REPOSITORY / "conf/kubeflow-refresh.yaml"
    return load_config(path, [f"kubeflow.image={IMAGE}", *overrides])


@pytest.fixture(scope="module")
def compiled():
    config = refresh_config(
        "kubeflow.status_dir=s3://tessera/status", "retrieval.num_results=50",
        "refresh.max_removed_share=0.25",
    )  # fmt: skip
    return compile_pipeline(config)


def test_it_is_a_pipeline_of_its_own_with_one_task(compiled):
    spec = compiled[0]
    assert spec["pipelineInfo"]["name"] == "tessera-refresh" == pipeline_name(refresh_config())
    tasks = dict(container_tasks(spec))
    assert set(tasks) == {"CatalogueRefresh", "StatusReport"}
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert "defaultValue" not in parameters["run_date"]
    assert parameters["model_name"]["defaultValue"] == "tessera"
    # How its runs end does not overwrite how the training of the day ended.
    status = tasks["StatusReport"]["inputs"]["parameters"]["status_dir"]
    assert status["runtimeValue"]["constant"] == "s3://tessera/status/refresh"
    outputs = spec["components"]["CatalogueRefresh"]["outputDefinitions"]["artifacts"]
    assert outputs["report"]["artifactType"]["schemaTitle"] == "system.HTML"
    assert len(dump(compiled)) < 20_000


def properties(compiled, **more):
    task = dict(container_tasks(compiled[0]))["CatalogueRefresh"]
    constant = task["inputs"]["parameters"]["config_json"]["runtimeValue"]["constant"]
    given = {
        "data_root": "s3://other/tables", "run_date": "2024-07-01-1d",
        "serving_dir": "s3://other/serving", "name": "model",
    }  # fmt: skip
    return given | {"config_json": constant} | more


def test_only_what_was_given_replaces_what_the_version_recorded(compiled):
    config = executor.refresh_config(properties(compiled), "/work")
    assert (config.pipeline, config.name, config.work_dir) == ("refresh", "model", "/work")
    assert config.serving_dir == "s3://other/serving"
    assert (config.data.root, config.data.run_date) == (
        "s3://other/tables", dt.date(2024, 6, 30),
    )  # fmt: skip
    given = config.model_dump(mode="json", exclude_unset=True)
    assert given["retrieval"] == {"num_results": 50}
    assert given["refresh"] == {"max_removed_share": 0.25}
    assert not given.keys() & {"model", "trainer", "transform", "kubeflow"}


def test_tables_without_days_need_none_and_a_wrong_day_is_said(compiled):
    assert executor.refresh_config(properties(compiled, run_date=""), "/w").data.run_date is None
    with pytest.raises(ConfigError, match="run_date"):
        executor.refresh_config(properties(compiled, run_date="[[CurrentTime]]"), "/w")


def run(compiled, tmp_path, monkeypatch, report, error=None):
    """The executor over a local run that ends as told."""

    def ended(config):
        run_dir = Path(config.work_dir)
        (run_dir / "report.json").write_text(json.dumps(report))
        (run_dir / "report.html").write_text("<html>refreshed")
        return RunResult("id", run_dir, report, error)

    monkeypatch.setattr(executor, "run_local", ended)
    pushed = PushedBundle()
    pushed.uri = str(tmp_path / "pushed")
    Path(pushed.uri).mkdir()
    try:
        executor.Executor().Do({}, {"pushed": [pushed]}, properties(compiled))
    finally:
        kept = {path.name for path in Path(pushed.uri).iterdir()}
        assert kept == {"report.json", "report.html", "pushed.json"}
    return pushed


PUSHED = {
    "status": "pushed", "blessed": True, "pushed_version": 4, "bundle": "s3://other/serving/model/4",
    "config": {"pipeline": "refresh"},
}  # fmt: skip


def test_what_was_published_is_told(compiled, tmp_path, monkeypatch):
    pushed = run(compiled, tmp_path, monkeypatch, PUSHED)
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_int_custom_property("pushed_version") == 4
    assert pushed.get_string_custom_property("pushed_destination") == PUSHED["bundle"]


def test_a_refresh_that_published_nothing_fails_its_task(compiled, tmp_path, monkeypatch):
    report = PUSHED | {"status": "not_pushed", "not_pushed_reason": "overtaken"}
    with pytest.raises(PushError, match="overtaken"):
        run(compiled, tmp_path, monkeypatch, report)


def test_what_stopped_it_is_the_tasks_own_error(compiled, tmp_path, monkeypatch):
    with pytest.raises(BundleError, match="no model"):
        run(compiled, tmp_path, monkeypatch, {"status": "failed"}, BundleError("no model"))
