"""Gathers what a run left behind into the shape of `report.json`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.pusher.model_card import MODEL_CARD
from core.errors import TesseraError
from core.storage import ObjectStore, is_remote
from pipeline.report.serving import failed_reasons

#: Key of the previous version in `baselines`, beside the floors.
PREVIOUS = "previous"
_PRIMARY = "recall@100"
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ReportInputs:
    """What is known of one run; whatever a failed run did not produce stays None.

    Attributes:
      run_id: id of the run.
      config: the whole run configuration.
      timings: seconds per component, in order of execution.
      cached: components that were reused from an earlier run.
      created_at: when the run ended, ISO 8601.
      data_report: `data_report.json` of the ingestion.
      verdict: `verdict.json` of the data gate.
      evaluation: `evaluation.json` of the evaluator.
      blessing: `blessing.json` of the evaluator.
      serving: `validation.json` of the serving validator.
      index: `index.json` of the index.
      history: `history.json` of the training.
      pushed: `pushed.json` of the pusher.
      baseline: `baseline.json` of the resolver.
      error: what stopped the run, '' when nothing did.
    """

    run_id: str
    config: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    cached: tuple[str, ...] = ()
    created_at: str = ""
    data_report: Path | None = None
    verdict: Path | None = None
    evaluation: Path | None = None
    blessing: Path | None = None
    serving: Path | None = None
    index: Path | None = None
    history: Path | None = None
    pushed: Path | None = None
    baseline: Path | None = None
    error: str = ""


def collect_report(inputs: ReportInputs) -> dict[str, Any]:
    """Returns the content of `report.json`; keys are always there, values may be empty.

    Files that cannot be read are named under `notes` and count as absent: a
    report of a broken run must not break as well.
    """
    notes: list[str] = []
    evaluation = _read(inputs.evaluation, notes)
    blessing = _read(inputs.blessing, notes)
    serving = _read(inputs.serving, notes)
    pushed = _read(inputs.pushed, notes)
    manifest = _manifest(pushed, notes)
    blessed = bool(blessing.get("blessed", False)) if blessing else None
    baselines = dict(evaluation.get("floors") or {})
    if evaluation.get("baseline"):
        baselines[PREVIOUS] = evaluation["baseline"]
    report = {
        "run_id": inputs.run_id,
        "name": inputs.config.get("name", ""),
        "created_at": inputs.created_at,
        "status": _status(inputs.error, blessed, serving, bool(pushed.get("pushed"))),
        "blessed": blessed,
        "verdicts": blessing.get("verdicts", []),
        "serving": serving,
        "pushed_version": pushed.get("version"),
        "bundle": pushed.get("destination") or None,
        "not_pushed_reason": _not_pushed(inputs.error, blessing, serving, pushed),
        "error": inputs.error,
        "data": _data(_read(inputs.data_report, notes)),
        "gate": _read(inputs.verdict, notes),
        "metrics": evaluation.get("model") or {},
        "baselines": baselines,
        "limits": evaluation.get("limits") or {},
        "baseline_version": _read(inputs.baseline, notes).get("version"),
        "primary_metric": evaluation.get("primary_metric")
        or manifest.get("primary_metric")
        or _PRIMARY,
        "baseline_comparison": evaluation.get("baseline_comparison"),
        "slices": evaluation.get("slices") or {},
        "examples_evaluated": evaluation.get("n_examples"),
        "curve": evaluation.get("curve") or {},
        "merge_curve": evaluation.get("merge_curve") or [],
        "several_targets": evaluation.get("several_targets") or {},
        "slots": evaluation.get("slots") or {},
        "topic_coverage": evaluation.get("topic_coverage") or {},
        "cluster_sizes": evaluation.get("cluster_sizes") or [],
        "training": _history(inputs.history, notes),
        "index": _read(inputs.index, notes),
        "timings_s": {name: round(value, 3) for name, value in inputs.timings.items()},
        "cached": list(inputs.cached),
        "manifest": {key: value for key, value in manifest.items() if key not in _LONG},
        "model_card": _model_card(pushed),
        "config": inputs.config,
        "notes": notes,
    }
    finite: dict[str, Any] = _finite(report)
    return finite


#: Parts of the manifest that the report does not repeat.
_LONG = ("files", "config")


def _status(error: str, blessed: bool | None, serving: dict[str, Any], pushed: bool) -> str:
    if error:
        return "failed"
    if pushed:
        return "pushed"
    if blessed is False:
        return "not_blessed"
    return "not_validated" if serving.get("validated") is False else "not_pushed"


def _not_pushed(
    error: str, blessing: dict[str, Any], serving: dict[str, Any], pushed: dict[str, Any]
) -> str:
    """Says in words why nothing was published; '' when something was."""
    if pushed.get("pushed"):
        return ""
    if error:
        return error
    failed = [v for v in blessing.get("verdicts", []) if not v.get("passed", True)]
    reasons = [str(v.get("reason") or v.get("check")) for v in failed]
    reasons += failed_reasons(serving)
    if reasons:
        return "; ".join(reasons)
    return str(pushed.get("reason") or "the run did not reach the pusher")


def _data(report: dict[str, Any]) -> dict[str, Any]:
    if not report:
        return {}
    tables = report.get("tables") or {}
    return {"rows": {name: table.get("rows") for name, table in tables.items()}, **report}


def _history(path: Path | None, notes: list[str]) -> list[dict[str, Any]]:
    content = _load(path, notes)
    if isinstance(content, dict):
        content = content.get("epochs", [])
    return [epoch for epoch in content or [] if isinstance(epoch, dict)]


def _read(path: Path | None, notes: list[str]) -> dict[str, Any]:
    content = _load(path, notes)
    if content is not None and not isinstance(content, dict):
        notes.append(f"{path}: expected an object")
        return {}
    return content or {}


def _load(path: Path | None, notes: list[str]) -> Any:
    if path is None or not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        notes.append(f"{path}: cannot be read: {error}")
        return None


def _manifest(pushed: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    destination = str(pushed.get("destination") or "")
    if not is_remote(destination):
        return _read(Path(destination) / _MANIFEST if destination else None, notes)
    try:
        content = json.loads(ObjectStore(destination).read(_MANIFEST))
    except (TesseraError, ValueError) as error:
        notes.append(f"{destination}/{_MANIFEST}: cannot be read: {error}")
        return {}
    return content if isinstance(content, dict) else {}


def _model_card(pushed: dict[str, Any]) -> str:
    """Returns the text of the published version's card; '' without one."""
    path = Path(pushed.get("destination") or ".") / MODEL_CARD
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _finite(value: Any) -> Any:
    """Replaces NaN and infinity by None: JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
