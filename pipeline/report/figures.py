"""The figures of the report, each a function from a part of `report.json` to SVG.

Each returns '' when there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report.notes import readable
from pipeline.report.svg import MUTED, SERIES, SURFACE, chart

_MODEL, _OTHER = SERIES[0], SERIES[1]


def training(epochs: Sequence[Mapping[str, Any]], watched: str = "") -> str:
    """Draws loss and validation recall by epoch, side by side.

    Args:
      epochs: content of `history.json`.
      watched: the recall to draw; where it is missing, any other.
    """
    loss = _points(epochs, "epoch", "loss")
    keys = [key for epoch in epochs for key in epoch if key.startswith("val_recall")]
    recall_key = watched if watched in keys else next(iter(keys), "")
    recall = _points(epochs, "epoch", recall_key) if recall_key else []
    panels = [p for p in ((loss, "Training loss"), (recall, _title(recall_key))) if p[0]]
    if not panels:
        return ""

    def draw(axes: list[Any]) -> None:
        from matplotlib.ticker import MaxNLocator

        for axis, (points, title) in zip(axes, panels, strict=True):
            x, y = zip(*points, strict=True)
            axis.plot(x, y, color=_MODEL, marker="o", markersize=4)
            axis.set_title(title)
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
            axis.grid(visible=False, axis="x")
            if points is recall:
                best = max(points, key=lambda point: point[1])
                axis.plot(*best, "o", color=_OTHER, markersize=8, zorder=3)
                axis.annotate(
                    f"best {best[1]:.4f}",
                    best,
                    xytext=(0, -14),
                    textcoords="offset points",
                    ha="center",
                )
                axis.margins(y=0.2)

    label = "; ".join(f"{title} from {p[0][1]:.4g} to {p[-1][1]:.4g}" for p, title in panels)
    return chart(draw, "training", label, (11.0, 2.7), panels=len(panels))


def recall_curve(
    curve: Mapping[str, Sequence[float]], baselines: Mapping[str, Mapping[str, float | None]]
) -> str:
    """Draws recall against k for the model; floors and the previous version as points."""
    points = [
        p for p in zip(curve.get("k", []), curve.get("recall", []), strict=False) if numeric(p)
    ]
    if not points:
        return ""

    def draw(axes: list[Any]) -> None:
        (axis,) = axes
        x, y = zip(*points, strict=True)
        axis.plot(x, y, color=_MODEL, label="this model")
        axis.fill_between(x, y, color=_MODEL, alpha=0.08, linewidth=0)
        for (name, metrics), colour in zip(baselines.items(), SERIES[1:], strict=False):
            known = _recalls(metrics)
            if known:
                xs, ys = zip(*known, strict=True)
                axis.plot(
                    xs, ys, "o--", color=colour, linewidth=1, markersize=4, label=readable(name)
                )
        axis.set_xlabel("k, number of items shown")
        axis.set_ylabel("recall")
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9, borderaxespad=0)

    last = points[-1]
    return chart(draw, "recall", f"recall rises with k up to {last[1]:.3f} at k={last[0]}")


def topic_coverage(coverage: Mapping[str, Sequence[float]]) -> str:
    """Draws how many distinct topics the first k results cover, on average."""
    pairs = zip(coverage.get("k", []), coverage.get("distinct_topics", []), strict=False)
    points = [p for p in pairs if numeric(p)]
    if not points:
        return ""

    def draw(axes: list[Any]) -> None:
        (axis,) = axes
        x, y = zip(*points, strict=True)
        axis.plot(x, y, color=SERIES[2], marker="o", markersize=4)
        axis.set_xlabel("k, number of items shown")
        axis.set_ylabel("distinct topics")
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)

    last = points[-1]
    return chart(draw, "topics", f"{last[1]:.1f} distinct topics among the first {last[0]}")


def bars(
    values: Sequence[float],
    labels: Sequence[str],
    name: str,
    x_label: str,
    y_label: str,
    colour: int = 0,
) -> str:
    """Draws a bar per value with its figure on top."""
    if not values or not any(values):
        return ""

    def draw(axes: list[Any]) -> None:
        (axis,) = axes
        drawn = axis.bar(range(len(values)), values, color=SERIES[colour], width=0.7)
        if len(values) <= 16:
            texts = [_short(value) for value in values]
            axis.bar_label(drawn, texts, padding=2, fontsize=9, color=MUTED)
        step = max(1, len(values) // 16)
        axis.set_xticks(range(0, len(values), step), list(labels)[::step])
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        axis.yaxis.set_major_formatter("{x:,.0f}" if max(values) >= 1000 else "{x:g}")
        axis.grid(visible=False, axis="x")
        axis.margins(y=0.15)
        axis.spines["bottom"].set_color(SURFACE)

    pairs = ", ".join(f"{a}: {_short(v)}" for a, v in zip(labels, values, strict=False))
    return chart(draw, name, f"{y_label} by {x_label}: {pairs}", (6.4, 2.4))


def histogram_parts(histogram: Any) -> tuple[list[float], list[str]]:
    """Splits a histogram into counts and labels.

    Args:
      histogram: a list of counts (bin 0, 1, 2, ...), a mapping from label to
        count, or a list of objects with a `count` and any one other key.
    """
    if isinstance(histogram, Mapping):
        edges, counts = histogram.get("edges"), histogram.get("counts")
        if isinstance(edges, Sequence) and isinstance(counts, Sequence):
            return [float(c or 0) for c in counts], [_short(edge) for edge in edges[: len(counts)]]
        return [float(v or 0) for v in histogram.values()], [str(k) for k in histogram]
    rows = list(histogram or [])
    if rows and isinstance(rows[0], Mapping):
        labels = [next((str(v) for k, v in row.items() if k != "count"), "") for row in rows]
        return [float(row.get("count") or 0) for row in rows], labels
    return [float(v or 0) for v in rows], [str(index) for index in range(len(rows))]


def numeric(values: Sequence[Any]) -> bool:
    """Returns whether every value is a number."""
    return all(isinstance(value, (int, float)) for value in values)


def _points(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> list[tuple[float, float]]:
    pairs = ((row.get(x, index), row.get(y)) for index, row in enumerate(rows))
    return [(float(a or 0), float(b or 0)) for a, b in pairs if numeric((a, b))]


def _recalls(metrics: Mapping[str, float | None]) -> list[tuple[int, float]]:
    found = [
        (int(key.removeprefix("recall@")), value)
        for key, value in metrics.items()
        if key.startswith("recall@") and value is not None
    ]
    return sorted(found)


def _title(key: str) -> str:
    return key.replace("val_", "Validation ")


def _short(value: Any) -> str:
    if not isinstance(value, (int, float)):
        return str(value)
    if value and abs(value) < 1:
        return f"{value:.2f}"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:.1f}"
