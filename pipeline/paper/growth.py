"""How cost grows: what the paper does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.paper.results import Published
from pipeline.paper.verdicts import Table

EXPERIMENT = "cost"
_FIGURES = (
    ("step_ms", "step, ms", 1),
    ("examples_per_s", "examples/s", 0),
    ("peak_mb", "peak MB", 0),
    ("embed_user_p50_ms", "user p50, ms", 2),
    ("retrieve_p50_ms", "request p50, ms", 2),
)


def growth(published: Published) -> str:
    """Returns a table per axis as Markdown, or says that nothing was measured."""
    points: Sequence[Mapping[str, Any]]
    points = published.experiments.get(EXPERIMENT, {}).get("points", [])
    if not points:
        return f"Not measured: `{EXPERIMENT}` was not run.\n"
    axes = dict.fromkeys(str(point["axis"]) for point in points)
    return "\n".join(
        f"{_axis(axis, [p for p in points if p['axis'] == axis]).markdown()}\n" for axis in axes
    )


def _axis(axis: str, points: Sequence[Mapping[str, Any]]) -> Table:
    lines = [
        (f"{point['value']:,}", str(point["model"]), *(_cell(point, *f) for f in _FIGURES))
        for point in points
    ]
    columns = (axis.replace("_", " "), "model", *(label for _, label, _ in _FIGURES))
    return Table(columns, tuple(lines))


def _cell(point: Mapping[str, Any], key: str, label: str, digits: int) -> str:
    value = point.get(key)
    return "" if value is None else f"{value:,.{digits}f}"
