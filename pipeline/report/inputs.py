"""Finds the files that a run's components wrote."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

from core.secrets import without_secrets
from pipeline.config import RunConfig
from pipeline.lineage import NodeState
from pipeline.report.collect import ReportInputs

#: Field of `ReportInputs` -> (component, output, file); the second place is that of a refresh.
_FILES: dict[str, list[tuple[str, str, str]]] = {
    "data_report": [
        ("RetrievalExampleGen", "report", "data_report.json"),
        ("CatalogueGen", "report", "data_report.json"),
    ],
    "verdict": [("DataGate", "verdict", "verdict.json")],
    "evaluation": [
        ("RetrievalEvaluator", "evaluation", "evaluation.json"),
        ("BundleSource", "evaluation", "evaluation.json"),
    ],
    "blessing": [
        ("RetrievalEvaluator", "blessing", "blessing.json"),
        ("BundleSource", "blessing", "blessing.json"),
    ],
    "serving": [("ServingValidator", "validation", "validation.json")],
    "index": [("IndexBuilder", "index", "index.json")],
    "pushed": [("Pusher", "pushed", "pushed.json")],
    "baseline": [("BaselineResolver", "baseline", "baseline.json")],
}
_HISTORIES = (
    ("model_run", Path("history.json")),
    ("model", Path("Format-Serving/warm_start/history.json")),
)


def report_inputs(
    config: RunConfig,
    run_id: str,
    nodes: Mapping[str, NodeState],
    timings: Mapping[str, float],
    error: Exception | None,
) -> ReportInputs:
    """Returns where the report of a local run reads from.

    Args:
      config: the run's configuration.
      run_id: the run's id.
      nodes: component id -> what ML Metadata knows of it.
      timings: seconds per component.
      error: what stopped the run, or None.
    """
    found = {field: _first(nodes, places) for field, places in _FILES.items()}
    histories = [_output(nodes, "Trainer", key, name) for key, name in _HISTORIES]
    history = next((path for path in histories if path is not None and path.exists()), None)
    return ReportInputs(
        run_id=run_id,
        config=without_secrets(config.model_dump(mode="json")),
        timings=dict(timings),
        cached=tuple(name for name, node in nodes.items() if node.state == "CACHED"),
        created_at=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        history=history,
        error="" if error is None else str(error) or type(error).__name__,
        **found,
    )


def _first(nodes: Mapping[str, NodeState], places: list[tuple[str, str, str]]) -> Path | None:
    paths = (_output(nodes, *place) for place in places)
    return next((path for path in paths if path is not None), None)


def _output(nodes: Mapping[str, NodeState], node: str, key: str, name: str | Path) -> Path | None:
    state = nodes.get(node)
    if state is None or not state.done or key not in state.outputs:
        return None
    return state.outputs[key] / name
