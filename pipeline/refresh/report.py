"""Where the report of a refresh finds what a whole run gets from other components."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pipeline.lineage import NodeState
from pipeline.report.collect import ReportInputs

#: Field of `ReportInputs` -> (component, output, file).
_FILES = {
    "data_report": ("CatalogueGen", "report", "data_report.json"),
    "evaluation": ("BundleSource", "evaluation", "evaluation.json"),
    "blessing": ("BundleSource", "blessing", "blessing.json"),
}


def refresh_inputs(inputs: ReportInputs, nodes: Mapping[str, NodeState]) -> ReportInputs:
    """Returns the inputs with the files that the components of a refresh wrote.

    Args:
      inputs: what `pipeline.report.inputs.report_inputs` found.
      nodes: component id -> what ML Metadata knows of it.
    """
    found: dict[str, Any] = {}
    for field, (node, key, name) in _FILES.items():
        state = nodes.get(node)
        if state is not None and state.done and key in state.outputs:
            found[field] = state.outputs[key] / name
    return dataclasses.replace(inputs, **found)
