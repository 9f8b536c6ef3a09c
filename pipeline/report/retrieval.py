"""The merge curve, and the questions with several targets, for page and terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report.figures import numeric
from pipeline.report.notes import readable
from pipeline.report.svg import MUTED, SERIES, chart

_ENTROPY, _COVERED = "topic_entropy@50", "topics_covered"


def setting(point: Mapping[str, Any]) -> str:
    """Names the merge of a point, for example `balanced 0.15, agreement 0.1`."""
    balance, agreement = point.get("balance"), point.get("agreement")
    name = str(point.get("merge", "")).replace("_", " ")
    name = f"{name} {balance:g}" if isinstance(balance, (int, float)) else name
    return f"{name}, agreement {agreement:g}" if agreement else name


def recalls(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the recalls of the points, by rising k."""
    names = {key for point in points for key in point if key.startswith("recall@")}
    return sorted(names, key=lambda name: int(name.removeprefix("recall@")))


def rows(points: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Returns the columns and the rows of the curve as text, the served setting marked."""
    columns = [*recalls(points), _ENTROPY, _COVERED]
    table = [
        [
            setting(point) + (" (served)" if point.get("served") else ""),
            *(_text(point.get(column)) for column in columns),
        ]
        for point in points
    ]
    return ["merge", *columns], table


def retrieval_view(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the page shows beside the recall curve; empty parts are left out."""
    points = [p for p in report.get("merge_curve") or [] if isinstance(p, Mapping)]
    columns, table = rows(points)
    return {
        "svg": _figure(points),
        "columns": columns if table else [],
        "rows": table,
        "questions": points[0].get("n") if points else None,
        "several": _several(report.get("several_targets") or {}),
    }


def _several(found: Mapping[str, Any]) -> dict[str, Any]:
    model, floors = found.get("model") or {}, found.get("floors") or {}
    if not model:
        return {}
    return {
        "users": f"{found.get('users') or 0:,}",
        "targets": _text(found.get("targets_mean")),
        "columns": ["this model", *(readable(name) for name in floors)],
        "rows": [
            [name, *(_text(figures.get(name)) for figures in (model, *floors.values()))]
            for name in model
        ],
    }


def _figure(points: Sequence[Mapping[str, Any]]) -> str:
    names = recalls(points)
    shown = [name for name in dict.fromkeys((names[0], names[-1]))] if names else []
    panels = [
        (name, [(p[_ENTROPY], p[name], p) for p in points if numeric((p.get(_ENTROPY), p[name]))])
        for name in shown
    ]
    panels = [(name, known) for name, known in panels if known]
    if not panels:
        return ""

    def draw(axes: list[Any]) -> None:
        for axis, (name, known) in zip(axes, panels, strict=True):
            x, y, _ = zip(*known, strict=True)
            axis.plot(x, y, "o-", color=SERIES[0], markersize=4)
            for left, up, point in known:
                if point.get("served"):
                    axis.plot(left, up, "o", color=SERIES[1], markersize=8, zorder=3)
                if point.get("served") or point in (known[0][2], known[-1][2]):
                    axis.annotate(
                        setting(point),
                        (left, up),
                        xytext=(0, 8),
                        textcoords="offset points",
                        ha="center",
                        fontsize=9,
                        color=MUTED,
                    )
            axis.set_title(name)
            axis.set_xlabel("topic entropy of the first 50, nats")
            axis.margins(x=0.15, y=0.25)

    label = "; ".join(
        f"{name} from {known[0][1]:.3f} merged by {setting(known[0][2])} "
        f"to {known[-1][1]:.3f} by {setting(known[-1][2])}"
        for name, known in panels
    )
    return chart(draw, "merge", label, (11.0, 2.9), panels=len(panels))


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "–"  # noqa: RUF001
