"""What a task shows on Kubeflow's pages: its figures, and the report of the run.

TFX knows neither output. They are made here from what the task has read and written, in its own
pod, after it is done; trouble with them is a warning, for the task itself has succeeded.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.bundle.reports import write_report_page
from core.files import staged_file
from kubeflow_pipelines.task.invocation import Invocation
from kubeflow_pipelines.task.uris import local_path
from pipeline.report.collect import ReportInputs, collect_report
from pipeline.report.render import HTML_NAME, JSON_NAME, render

_LOG = logging.getLogger("tessera")
#: Field of `ReportInputs` -> (artifact of the Pusher, file).
_FILES = {
    "data_report": ("report", "data_report.json"),
    "verdict": ("verdict", "verdict.json"),
    "evaluation": ("evaluation", "evaluation.json"),
    "blessing": ("blessing", "blessing.json"),
    "serving": ("validation", "validation.json"),
    "index": ("index", "index.json"),
    "history": ("model", "Format-Serving/warm_start/history.json"),
    "pushed": ("pushed", "pushed.json"),
    "baseline": ("baseline", "baseline.json"),
}
#: Place of the run's id in an artifact's URI, from its end: run, task, id of the task, key.
_RUN_OF_URI = -4


def show(invocation: Invocation, root: str) -> dict[str, Any]:
    """Makes the outputs that Kubeflow's pages show.

    Args:
      invocation: of the task, which has ended well; its folders are where it ran.
      root: folder that holds the launcher's folders.

    Returns:
      Output key -> `ArtifactList` as JSON, to be described beside the task's own outputs.
    """
    described = {}
    for key, uri in invocation.shown.items():
        try:
            metadata = _MAKERS[key](invocation, uri, root)
        except Exception as error:  # whatever it is, the task's own work is done
            _LOG.warning("%s is not shown: %s: %s", key, type(error).__name__, error)
            metadata = {}
        described[key] = {"artifacts": [{"name": key, "uri": uri, "metadata": metadata}]}
    return described


def figures(evaluation: Mapping[str, Any], validation: Mapping[str, Any]) -> dict[str, float]:
    """Returns the finite numbers that are worth a look.

    Args:
      evaluation: `evaluation.json` of the evaluator, or nothing.
      validation: `validation.json` of the serving validator, or nothing.
    """
    found: dict[str, Any] = dict(evaluation.get("model") or {})
    primary = evaluation.get("primary_metric")
    beside = dict(evaluation.get("floors") or {})
    if evaluation.get("baseline"):
        beside["previous"] = evaluation["baseline"]
    for name, metrics in beside.items():
        if primary in metrics:
            found[f"{primary} of {name}"] = metrics[primary]
    for kind, unit in (("latency_ms", "ms"), ("load_s", "s"), ("rss_mb", "MB")):
        for model, value in (validation.get(kind) or {}).items():
            values = value.items() if isinstance(value, Mapping) else [("", value)]
            for name, number in values:
                what = " ".join(part for part in (kind.rpartition("_")[0], name) if part)
                found[f"{what} ({unit}) of {model}"] = number
    for name in ("recall", "skew"):
        found[f"serving {name}"] = validation.get(name)
    return {
        key: float(value)
        for key, value in found.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


def _metrics(invocation: Invocation, uri: str, root: str) -> dict[str, Any]:
    places = _places(invocation)
    metadata = figures(
        _json(places.get("evaluation"), "evaluation.json"),
        _json(places.get("validation"), "validation.json"),
    )
    _write(uri, root, json.dumps(metadata, indent=1, sort_keys=True))
    return metadata


def _report(invocation: Invocation, uri: str, root: str) -> dict[str, Any]:
    parameters = invocation.executor_input.inputs.parameter_values
    report, page = _whole_run(invocation) or _of_pusher(invocation, uri)
    _write(uri, root, page)
    found = {"status": report["status"]}
    if report["pushed_version"] and report["status"] == "pushed":
        serving_dir, name = (parameters[key].string_value for key in ("serving_dir", "name"))
        found["report"] = write_report_page(serving_dir, name, int(report["pushed_version"]), page)
    return found


def _whole_run(invocation: Invocation) -> tuple[dict[str, Any], str] | None:
    """Returns the report that a task has made of a whole run, with its page; None without."""
    folder = _places(invocation)["pushed"]
    if not (folder / HTML_NAME).exists():
        return None
    return _json(folder, JSON_NAME), (folder / HTML_NAME).read_text(encoding="utf-8")


def _of_pusher(invocation: Invocation, uri: str) -> tuple[dict[str, Any], str]:
    places = _places(invocation)
    parameters = invocation.executor_input.inputs.parameter_values
    config = json.loads(parameters["manifest_json"].string_value).get("config", {})
    files: dict[str, Any] = {
        field: places[key] / name for field, (key, name) in _FILES.items() if key in places
    }
    report = collect_report(
        ReportInputs(
            run_id=uri.split("/")[_RUN_OF_URI],
            config=config,
            created_at=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            **files,
        )
    )
    return report, render(report)


_MAKERS = {"metrics": _metrics, "report": _report}


def _places(invocation: Invocation) -> dict[str, Path]:
    """Returns artifact key -> folder; of a key that is both, the input (`report`)."""
    message = invocation.executor_input
    return {
        key: Path(entries.artifacts[0].uri)
        for part in (message.outputs.artifacts, message.inputs.artifacts)
        for key, entries in part.items()
    }


def _json(folder: Path | None, name: str) -> dict[str, Any]:
    if folder is None:
        return {}
    content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return content


def _write(uri: str, root: str, text: str) -> None:
    path = local_path(uri, root)
    if path is None:
        raise ValueError(f"{uri}: the launcher keeps no file for it")
    with staged_file(Path(path)) as staging:
        staging.write_text(text, encoding="utf-8")
