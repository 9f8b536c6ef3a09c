"""Charts of an experiment, each from a part of `results.json` to SVG, '' when empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report.svg import INK, LINE, MUTED, SERIES, chart
from research.experiment import glossary
from research.experiment.report_tables import comparable, mean_of

_LINES_MAX = len(SERIES)
_BARS_MAX = 30
#: Slices whose values have an order, drawn as lines when present.
_ORDERED = ("history_length", "history_tercile")


def differences(rows: Sequence[Mapping[str, Any]], name: str, metric: str) -> str:
    """Draws each row's difference to the baseline with its interval, one below the other."""
    found = [
        (str(row["row"]), versus["difference"], versus["low"], versus["high"])
        for row in rows
        if (versus := (row.get("versus") or {}).get(metric))
        and all(isinstance(versus.get(k), (int, float)) for k in ("difference", "low", "high"))
    ][:_BARS_MAX]
    if not found:
        return ""

    def draw(axes: list[Any]) -> None:
        (axis,) = axes
        axis.axvline(0, color=INK, linewidth=1)
        for place, (_, middle, low, high) in enumerate(found):
            colour = SERIES[0] if low > 0 else SERIES[1] if high < 0 else MUTED
            axis.plot([low, high], [place, place], color=colour, linewidth=2)
            axis.plot([middle], [place], "o", color=colour, markersize=6)
        axis.set_yticks(range(len(found)), [row for row, *_ in found])
        axis.set_ylim(len(found) - 0.4, -0.6)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel(f"difference of {glossary.figure(metric).label} to the baseline")

    words = ", ".join(f"{row} {middle:+.4f}" for row, middle, *_ in found)
    size = (6.4, 0.9 + 0.26 * len(found))
    return chart(draw, name, f"difference of {metric} to the baseline: {words}", size)


def by_slice(rows: Sequence[Mapping[str, Any]], name: str, metric: str, baseline: str) -> str:
    """Draws a metric against the values of the first ordered slice with two values or more.

    At most six rows are drawn: the baseline and those that are best overall.
    """
    chosen = _best_rows(rows, metric, baseline)
    for slice_name in _ORDERED:
        values = list(
            dict.fromkeys(
                v for row in chosen for v in (row.get("slices") or {}).get(slice_name, {})
            )
        )
        if len(values) >= 2:
            return _lines(chosen, slice_name, values, name, metric)
    return ""


def growth(points: Sequence[Mapping[str, Any]], name: str, figure: str) -> str:
    """Draws a figure of the cost experiment along one axis, a line per model, both logarithmic."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        x, y = point.get("value"), point.get(figure)
        if isinstance(x, (int, float)) and isinstance(y, (int, float)) and x > 0 and y > 0:
            lines.setdefault(str(point.get("model")), []).append((float(x), float(y)))
    lines = dict(list(lines.items())[:_LINES_MAX])
    if not any(len(line) > 1 for line in lines.values()):
        return ""

    def draw(axes: list[Any]) -> None:
        from matplotlib.ticker import NullLocator

        (axis,) = axes
        for (model, line), colour in zip(lines.items(), SERIES, strict=False):
            x, y = zip(*sorted(line), strict=True)
            axis.plot(x, y, color=colour, marker="o", markersize=4, label=model)
        axis.set_xscale("log")
        axis.set_yscale("log")
        ticks = sorted({x for line in lines.values() for x, _ in line})
        axis.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter("{x:,g}")
        axis.yaxis.set_minor_formatter("{x:,g}")
        axis.set_ylabel(glossary.figure(figure).label)
        axis.set_xlabel(str(points[0].get("axis", "")).replace("_", " "))
        axis.legend(loc="best", fontsize=9)

    ends = ", ".join(f"{m} {min(line)[1]:.3g} to {max(line)[1]:.3g}" for m, line in lines.items())
    return chart(draw, name, f"{figure}: {ends}", (6.4, 3.0))


def _best_rows(
    rows: Sequence[Mapping[str, Any]], metric: str, baseline: str
) -> list[Mapping[str, Any]]:
    known = [row for row in comparable(rows, baseline) if mean_of(row, metric) is not None]
    if not any(row["row"] == baseline and row.get("kind") == "variant" for row in known):
        known = [row for row in known if row.get("kind") != "variant"]
    ordered = sorted(known, key=lambda row: (row["row"] != baseline, -(mean_of(row, metric) or 0)))
    return ordered[:_LINES_MAX]


def _lines(
    rows: Sequence[Mapping[str, Any]],
    slice_name: str,
    values: Sequence[str],
    name: str,
    metric: str,
) -> str:
    def draw(axes: list[Any]) -> None:
        (axis,) = axes
        for row, colour in zip(rows, SERIES, strict=False):
            parts = (row.get("slices") or {}).get(slice_name, {})
            points = [
                (place, mean)
                for place, value in enumerate(values)
                if (mean := mean_of(parts.get(value) or {}, metric)) is not None
            ]
            if points:
                x, y = zip(*points, strict=True)
                axis.plot(x, y, color=colour, marker="o", markersize=4, label=str(row["row"]))
        axis.set_xticks(range(len(values)), list(values))
        axis.set_xlabel(slice_name.replace("_", " "))
        axis.set_ylabel(glossary.figure(metric).label)
        axis.spines["bottom"].set_color(LINE)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9, borderaxespad=0)

    words = ", ".join(str(row["row"]) for row in rows)
    label = f"{metric} by {slice_name.replace('_', ' ')} of {words}"
    return chart(draw, name, label, (6.4, 3.0))
