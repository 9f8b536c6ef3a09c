"""From `report.json` to what the template shows: formatted rows and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.report import figures, notes
from pipeline.report.retrieval import retrieval_view
from pipeline.report.serving import model_name, serving_view, with_unit

_VERDICTS = {
    "pushed": ("good", "Blessed and published"),
    "not_blessed": ("bad", "Not blessed, not published"),
    "not_validated": ("bad", "Blessed, but it does not serve: not published"),
    "not_pushed": ("warn", "Not published"),
    "failed": ("bad", "The run failed"),
}


def build_view(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the template's variables: the report and what has to be worked out of it.

    Parts that a run did not reach are empty. The template formats figures by `FILTERS`.
    """
    primary = report.get("primary_metric") or "recall@100"
    tone, headline = _VERDICTS.get(report.get("status", ""), ("warn", "Unknown outcome"))
    if report.get("status") == "pushed" and report.get("pushed_version"):
        headline = f"Blessed and published as version {report['pushed_version']}"
    data, epochs = report.get("data") or {}, report.get("training") or []
    return {
        "report": report,
        "primary": primary,
        "tone": tone,
        "headline": headline,
        "tiles": _tiles(report, primary),
        "serving": serving_view(report.get("serving") or {}),
        "metrics": _metric_table(report),
        "comparison": _comparison(report, primary),
        "origin": _origin(report),
        "slices": _slices(report, primary),
        "recall_svg": figures.recall_curve(
            report.get("curve") or {}, report.get("baselines") or {}
        ),
        "topics_svg": figures.topic_coverage(report.get("topic_coverage") or {}),
        "retrieval": retrieval_view(report),
        "training_svg": figures.training(epochs, _watched(report)),
        "interests": _interests(report),
        "unused_rows": _unused_rows(data),
        "history": data.get("history_length") or {},
        "history_svg": figures.bars(
            *figures.histogram_parts((data.get("history_length") or {}).get("histogram")),
            "history",
            "items in the history",
            "examples",
            4,
        ),
        "config": json.dumps(report.get("config") or {}, indent=2),
    }


def number(value: Any, digits: int = 4) -> str:
    """Formats a metric; an en dash stands for none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return "–"  # noqa: RUF001
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{digits}f}"


def count(value: Any) -> str:
    """Formats a whole number with separators; an en dash stands for none."""
    return f"{value:,.0f}" if isinstance(value, (int, float)) else "–"  # noqa: RUF001


def size(value: Any) -> str:
    """Formats bytes."""
    if not isinstance(value, (int, float)):
        return "–"  # noqa: RUF001
    for unit in ("B", "kB", "MB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def duration(seconds: Any) -> str:
    """Formats seconds; an en dash stands for none."""
    if not isinstance(seconds, (int, float)):
        return "–"  # noqa: RUF001
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def percent(value: Any) -> str:
    """Formats a share; '' stands for none."""
    return f"{value:.1%}" if isinstance(value, (int, float)) else ""


def share(value: Any, most: Any) -> float:
    """Returns a value in percent of the largest one, 0 where there is none."""
    return round(100 * (value or 0.0) / most, 1) if most else 0.0


def epoch_cell(value: Any) -> str:
    """Formats a figure of an epoch: a loss, a recall or a count."""
    fraction = isinstance(value, float) and not value.is_integer()
    return number(value) if fraction else count(value)


#: What the template formats with.
FILTERS = {
    "number": number,
    "count": count,
    "size": size,
    "duration": duration,
    "percent": percent,
    "share": share,
    "epoch_cell": epoch_cell,
    "readable": notes.readable,
    "metric_note": notes.metric_note,
    "floor_note": notes.floor_note,
    "slice_note": notes.slice_note,
    "component_note": notes.component_note,
    "model_name": model_name,
    "with_unit": with_unit,
}


def _tiles(report: Mapping[str, Any], primary: str) -> list[dict[str, str]]:
    metrics, data = report.get("metrics") or {}, report.get("data") or {}
    rows = (data.get("rows") or {}).get("engagements")
    floor, bound = _best_floor(report, primary)
    value = metrics.get(primary)
    times = f"{value / bound:.1f} times {notes.readable(floor)}" if value and bound else ""
    tiles = [
        (primary, number(value) if value is not None else "", times),
        ("catalogue shown", percent(metrics.get("coverage")), "of all items, to some user"),
        ("engagements", count(rows) if rows is not None else "", _of_users(data)),
        ("total time", duration(sum((report.get("timings_s") or {}).values())), _cached(report)),
    ]
    return [{"label": a, "value": b, "note": c} for a, b, c in tiles if b]


def _of_users(data: Mapping[str, Any]) -> str:
    return f"{count(data.get('users'))} users, {count(data.get('items'))} items"


def _cached(report: Mapping[str, Any]) -> str:
    cached = len(report.get("cached") or [])
    return f"{cached} of {len(report.get('timings_s') or {})} components reused" if cached else ""


def _origin(report: Mapping[str, Any]) -> str:
    """Says whose figures a refresh shows; '' for a training."""
    config = report.get("config") or {}
    if config.get("pipeline") != "refresh":
        return ""
    version = (report.get("manifest") or {}).get("model_version")
    whose = f"version {version}" if version else "the published version"
    return f"Figures of {whose}, whose model this is: a refresh measures nothing anew. "


def _best_floor(report: Mapping[str, Any], primary: str) -> tuple[str, float]:
    floors = {
        name: values.get(primary) or 0.0
        for name, values in (report.get("baselines") or {}).items()
        if name != "previous"
    }
    name = max(floors, key=lambda floor: floors[floor], default="")
    return name, floors.get(name, 0.0)


def _metric_table(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the rows beside the floors: the model first, then the previous version."""
    model, others = report.get("metrics") or {}, report.get("baselines") or {}
    ordered = sorted(others, key=lambda name: name != "previous")
    limits = report.get("limits") or {}
    rows = []
    for metric, value in model.items():
        if metric == "coverage" and any(name.startswith("coverage@") for name in model):
            continue  # the same as at the largest k
        cells = [value, *(others[name].get(metric) for name in ordered)]
        best = max((cell for cell in cells if isinstance(cell, (int, float))), default=None)
        cells += [figures.get(metric) for figures in limits.values()]  # are no rivals
        rows.append({"name": metric, "cells": cells, "best": best})
    return {"floors": [*ordered, *limits], "rows": rows}


def _comparison(report: Mapping[str, Any], primary: str) -> str:
    found = report.get("baseline_comparison")
    if not found:
        return ""
    version = report.get("baseline_version")
    name = f"version {version}" if version else "the previous version"
    return (
        f"Against {name}: {primary} {found['difference']:+.4f} "
        f"({found['level']:.0%} interval {found['low']:+.4f} to {found['high']:+.4f}, "
        f"paired over {found['n']:,} examples)."
    )


def _slices(report: Mapping[str, Any], primary: str) -> list[dict[str, Any]]:
    tables = []
    for name, rows in (report.get("slices") or {}).items():
        columns = list(dict.fromkeys(key for row in rows.values() for key in row))
        shown = [c for c in columns if c.startswith(("recall@", "ndcg@10", "mrr"))][:6]
        top = max((row.get(primary) or 0.0 for row in rows.values()), default=0.0)
        tables.append({"name": name, "columns": shown, "rows": rows, "top": top})
    return tables


def _watched(report: Mapping[str, Any]) -> str:
    """Returns the history key that early stopping looks at."""
    k = ((report.get("config") or {}).get("trainer") or {}).get("early_stopping_metric_k")
    return f"val_recall@{k}"


def _interests(report: Mapping[str, Any]) -> dict[str, Any]:
    slots = report.get("slots") or {}
    sizes, labels = figures.histogram_parts(report.get("cluster_sizes"))
    if isinstance(report.get("cluster_sizes"), list) and labels[:1] == ["0"]:
        labels = [str(index + 1) for index in range(len(labels))]
    use = [100 * (share or 0.0) for share in slots.get("slot_use") or []]
    hits = slots.get("hits_by_kind") or {}
    pairs = {
        "results": (slots.get("implicit_share"), slots.get("explicit_share")),
        "hits": (hits.get("implicit"), hits.get("explicit")),
    }
    return {
        "shares": {name: pair for name, pair in pairs.items() if pair != (None, None)},
        "clusters_svg": figures.bars(
            sizes, labels, "clusters", "history items in the cluster", "clusters", 3
        ),
        "use_svg": figures.bars(
            use, [str(i) for i in range(len(use))], "slots", "slot", "% of results", 0
        ),
    }


def _unused_rows(data: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Returns how many rows were not used for which reason, the most frequent first."""
    reasons = {**(data.get("dropped") or {}), **(data.get("dead_letter_reasons") or {})}
    return sorted(((name, rows) for name, rows in reasons.items() if rows), key=lambda r: -r[1])
