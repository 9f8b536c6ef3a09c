"""What a task shows on Kubeflow's pages: finite figures, the report of the run as one file."""

import json
import math
from pathlib import Path

import pytest

from kubeflow_pipelines.shown import SHOWN
from kubeflow_pipelines.task.invocation import prepare, restored
from kubeflow_pipelines.task.shown import figures, show

EVALUATION = {
    "model": {"recall@100": 0.5, "ndcg@10": math.nan, "mrr": None},
    "floors": {"popularity": {"recall@100": 0.25}, "empty": {}},
    "baseline": {"recall@100": 0.4},
    "primary_metric": "recall@100",
}
VALIDATION = {
    "validated": True,
    "latency_ms": {"retriever": {"p50": 3.5, "p99": math.inf}},
    "load_s": {"retriever": 1.25},
    "recall": None,
    "skew": 0.0,
}
ROOT_URI = "minio://b/v2/tessera/0b5c0000-0000-4000-8000-000000000001"


def test_figures_are_finite_numbers_and_nothing_else():
    assert figures(EVALUATION, {}) == {
        "recall@100": 0.5,
        "recall@100 of popularity": 0.25,
        "recall@100 of previous": 0.4,
    }
    assert figures({}, VALIDATION) == {
        "latency p50 (ms) of retriever": 3.5,
        "load (s) of retriever": 1.25,
        "serving skew": 0.0,
    }
    assert figures({}, {}) == {}


def typed(title):
    return {"artifactType": {"instanceSchema": f"title: {title}\ntype: object\n"}}


def invocation_of(tmp_path, component, inputs, outputs, parameters=None):
    """As the launcher passes it; `inputs` and `outputs` are key -> {file: content}."""

    def listed(files, task):
        found = {}
        for key, content in files.items():
            uri = f"{ROOT_URI}/{task}/1/{key}"
            for name, tree in content.items():
                path = tmp_path / uri.replace("://", "/") / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(tree))
            found[key] = {"artifacts": [{"name": key, "uri": uri, "type": {}}]}
        return found

    shown = {key: {"artifactType": {"schemaTitle": kind}} for key, kind in SHOWN[component].items()}
    planned = listed(outputs, component) | {
        key: {"artifacts": [{"name": key, "uri": f"{ROOT_URI}/{component}/1/{key}"}]}
        for key in shown
    }
    call = {
        "inputs": {"artifacts": listed(inputs, "Other"), "parameterValues": parameters or {}},
        "outputs": {"artifacts": planned, "outputFile": str(tmp_path / "out.json")},
    }
    specs = [{"artifacts": {key: typed("tfx.Model") for key in keys}} for keys in (inputs, outputs)]
    specs[1]["artifacts"] |= shown
    return prepare(json.dumps(call), json.dumps(specs[0]), json.dumps(specs[1]), str(tmp_path))


def test_the_evaluators_figures_are_metadata_and_a_file(tmp_path):
    made = {"evaluation": {"evaluation.json": EVALUATION}}
    invocation = invocation_of(tmp_path, "RetrievalEvaluator", {"index": {}}, made)
    # TFX gets no output that it has no class for.
    assert set(invocation.outputs) == {"evaluation"}
    assert set(invocation.executor_input.outputs.artifacts) == {"evaluation"}
    described = show(invocation, str(tmp_path))
    (artifact,) = described["metrics"]["artifacts"]
    assert artifact["metadata"] == figures(EVALUATION, {})
    path = tmp_path / artifact["uri"].replace("://", "/")
    assert json.loads(path.read_text()) == artifact["metadata"]
    written = json.loads(restored('{"artifacts": {"evaluation": {}}}', {}, described))
    assert set(written["artifacts"]) == {"evaluation", "metrics"}
    json.dumps(written, allow_nan=False)


def pusher(tmp_path, serving_dir, pushed):
    inputs = {
        "evaluation": {"evaluation.json": EVALUATION | {"model": {"recall@100": 0.5}}},
        "blessing": {"blessing.json": {"blessed": True, "verdicts": []}},
        "validation": {"validation.json": {"validated": True, "checks": []}},
        "verdict": {"verdict.json": {"passed": True}},
        "report": {"data_report.json": {"tables": {}}},
    }
    parameters = {
        "manifest_json": json.dumps({"config": {"name": "demo"}}),
        "serving_dir": serving_dir,
        "name": "demo",
    }
    return invocation_of(
        tmp_path, "Pusher", inputs, {"pushed": {"pushed.json": pushed}}, parameters
    )


def test_the_pushers_report_is_one_html_file_also_beside_the_version(tmp_path):
    serving = tmp_path / "serving"
    pushed = {"pushed": True, "version": 3, "destination": f"{serving}/demo/3", "reason": ""}
    invocation = pusher(tmp_path, str(serving), pushed)
    (artifact,) = show(invocation, str(tmp_path))["report"]["artifacts"]
    page = (tmp_path / artifact["uri"].replace("://", "/")).read_text()
    assert page.lstrip().startswith("<!doctype html>") or page.lstrip().startswith(
        "<!DOCTYPE html>"
    )
    assert "0b5c0000-0000-4000-8000-000000000001" in page  # the run's id
    assert "0.5" in page
    assert artifact["metadata"] == {
        "status": "pushed", "report": f"{serving}/demo/reports/3.html",
    }  # fmt: skip
    assert Path(artifact["metadata"]["report"]).read_text() == page


def test_a_run_that_published_nothing_has_a_report_and_leaves_none_in_the_serving_folder(tmp_path):
    invocation = pusher(tmp_path, str(tmp_path / "serving"), {"pushed": False, "reason": "older"})
    (artifact,) = show(invocation, str(tmp_path))["report"]["artifacts"]
    assert artifact["metadata"] == {"status": "not_pushed"}
    assert (tmp_path / artifact["uri"].replace("://", "/")).is_file()
    assert not (tmp_path / "serving").exists()


@pytest.mark.parametrize("broken", ["not json", "[]"])
def test_trouble_with_what_is_shown_never_fails_a_task(tmp_path, broken, caplog):
    invocation = invocation_of(
        tmp_path, "ServingValidator", {"index": {}}, {"validation": {"validation.json": {}}}
    )
    path = Path(invocation.outputs["validation"]) / "validation.json"
    path.write_text(broken)
    (artifact,) = show(invocation, str(tmp_path))["metrics"]["artifacts"]
    assert artifact["metadata"] == {}
    assert "metrics is not shown" in caplog.text
