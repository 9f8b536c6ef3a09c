"""From `report.json` to what the template shows: formatted rows and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.report import figures, notes
from pipeline.report.serving import serving_view

_VERDICTS = {
    "pushed": ("good", "Blessed and published"),
    "not_blessed": ("bad", "Not blessed, not published"),
    "not_validated": ("bad", "Blessed, but it does not serve: not published"),
    "not_pushed": ("warn", "Not published"),
    "failed": ("bad", "The run failed"),
}


def build_view(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the template's variables; parts that a run did not reach are empty."""
    primary = report.get("primary_metric") or "recall@100"
    tone, headline = _VERDICTS.get(report.get("status", ""), ("warn", "Unknown outcome"))
    if report.get("status") == "pushed" and report.get("pushed_version"):
        headline = f"Blessed and published as version {report['pushed_version']}"
    return {
        "report": report,
        "primary": primary,
        "tone": tone,
        "headline": headline,
        "tiles": _tiles(report, primary),
        "checks": [_check(verdict) for verdict in report.get("verdicts") or []],
        "serving": serving_view(report.get("serving") or {}),
        "metrics": _metric_table(report),
        "comparison": _comparison(report, primary),
        "origin": _origin(report),
        "slices": _slices(report, primary),
        "recall_svg": figures.recall_curve(
            report.get("curve") or {}, report.get("baselines") or {}
        ),
        "topics_svg": figures.topic_coverage(report.get("topic_coverage") or {}),
        "training_svg": figures.training(report.get("training") or [], _watched(report)),
        "training": _training(report.get("training") or []),
        "interests": _interests(report),
        "data": _data(report.get("data") or {}),
        "index": _index(report.get("index") or {}),
        "timings": _timings(report),
        "config": json.dumps(report.get("config") or {}, indent=2),
        "digests": _digests(report.get("manifest") or {}),
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


def _tiles(report: Mapping[str, Any], primary: str) -> list[dict[str, str]]:
    metrics, data = report.get("metrics") or {}, report.get("data") or {}
    rows = (data.get("rows") or {}).get("engagements")
    floor, bound = _best_floor(report, primary)
    value = metrics.get(primary)
    times = f"{value / bound:.1f} times {notes.readable(floor)}" if value and bound else ""
    tiles = [
        (primary, number(value) if value is not None else "", times),
        ("catalogue shown", _percent(metrics.get("coverage")), "of all items, to some user"),
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


def _percent(value: Any) -> str:
    return f"{value:.1%}" if isinstance(value, (int, float)) else ""


def _best_floor(report: Mapping[str, Any], primary: str) -> tuple[str, float]:
    floors = {
        name: values.get(primary) or 0.0
        for name, values in (report.get("baselines") or {}).items()
        if name != "previous"
    }
    name = max(floors, key=lambda floor: floors[floor], default="")
    return name, floors.get(name, 0.0)


def _check(verdict: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": str(verdict.get("check", "")),
        "passed": bool(verdict.get("passed")),
        "value": number(verdict.get("value")),
        "bound": number(verdict.get("bound")),
        "reason": str(verdict.get("reason", "")),
    }


def _metric_table(report: Mapping[str, Any]) -> dict[str, Any]:
    model = report.get("metrics") or {}
    if not model:
        return {}
    others = report.get("baselines") or {}
    ordered = sorted(others, key=lambda name: name != "previous")
    rows = []
    for metric, value in model.items():
        if metric == "coverage" and any(name.startswith("coverage@") for name in model):
            continue  # the same as at the largest k
        cells = [value, *(others[name].get(metric) for name in ordered)]
        known = [cell for cell in cells if isinstance(cell, (int, float))]
        best = max(known, default=None)
        rows.append(
            {
                "name": metric,
                "note": notes.metric_note(metric),
                "cells": [
                    {"text": number(cell), "best": cell is not None and cell == best}
                    for cell in cells
                ],
            }
        )
    columns = [{"name": notes.readable(n), "note": notes.floor_note(n)} for n in ordered]
    return {"columns": columns, "rows": rows}


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
    for name, values in (report.get("slices") or {}).items():
        columns = list(dict.fromkeys(key for v in values.values() for key in v if key != "n"))
        shown = [c for c in columns if c.startswith(("recall@", "ndcg@10", "mrr"))][:6]
        top = max((v.get(primary) or 0.0 for v in values.values()), default=0.0)
        rows = [
            {
                "name": notes.readable(value),
                "n": count(v.get("n")),
                "cells": [number(v.get(column)) for column in shown],
                "share": round(100 * (v.get(primary) or 0.0) / top, 1) if top else 0,
                "value": number(v.get(primary)),
            }
            for value, v in values.items()
        ]
        tables.append(
            {
                "name": notes.readable(name),
                "note": notes.slice_note(name),
                "columns": shown,
                "rows": rows,
            }
        )
    return tables


def _watched(report: Mapping[str, Any]) -> str:
    """Returns the history key that early stopping looks at."""
    k = ((report.get("config") or {}).get("trainer") or {}).get("early_stopping_metric_k")
    return f"val_recall@{k}"


def _training(epochs: list[dict[str, Any]]) -> dict[str, Any]:
    if not epochs:
        return {}
    last = epochs[-1]
    columns = [key for key in last if isinstance(last[key], (int, float))]
    rows = [[_cell(epoch.get(column)) for column in columns] for epoch in epochs]
    return {"epochs": len(epochs), "columns": columns, "rows": rows}


def _cell(value: Any) -> str:
    if isinstance(value, float) and not value.is_integer():
        return number(value)
    return count(value)


def _interests(report: Mapping[str, Any]) -> dict[str, Any]:
    slots = report.get("slots") or {}
    sizes, labels = figures.histogram_parts(report.get("cluster_sizes"))
    if isinstance(report.get("cluster_sizes"), list) and labels[:1] == ["0"]:
        labels = [str(index + 1) for index in range(len(labels))]
    use = [100 * (share or 0.0) for share in slots.get("slot_use") or []]
    hits = slots.get("hits_by_kind") or {}
    return {
        "shares": [
            {"label": label, "implicit": _percent_of(pair[0]), "explicit": _percent_of(pair[1])}
            for label, pair in (
                ("results", (slots.get("implicit_share"), slots.get("explicit_share"))),
                ("hits", (hits.get("implicit"), hits.get("explicit"))),
            )
            if any(value is not None for value in pair)
        ],
        "overlap": _percent(slots.get("overlap")),
        "dead": ", ".join(str(slot) for slot in slots.get("dead_slots") or []),
        "clusters_svg": figures.bars(
            sizes, labels, "clusters", "history items in the cluster", "clusters", 3
        ),
        "use_svg": figures.bars(
            use, [str(i) for i in range(len(use))], "slots", "slot", "% of results", 0
        ),
    }


def _percent_of(value: Any) -> float:
    return round(100 * value, 1) if isinstance(value, (int, float)) else 0.0


def _data(data: Mapping[str, Any]) -> dict[str, Any]:
    if not data:
        return {}
    tables = [
        {
            "name": name,
            "rows": count(t.get("rows")),
            "dead": count(t.get("dead_letters", 0)),
            "files": count(t.get("files")),
            "bytes": size(t.get("bytes")),
        }
        for name, t in (data.get("tables") or {}).items()
    ]
    reasons = {**(data.get("dropped") or {}), **(data.get("dead_letter_reasons") or {})}
    top = max([value for value in reasons.values() if value], default=1)
    dropped = [
        {"name": notes.readable(name), "count": count(v), "share": round(100 * v / top, 1)}
        for name, v in sorted(reasons.items(), key=lambda item: -(item[1] or 0))
        if v
    ]
    lengths = data.get("history_length") or {}
    values, labels = figures.histogram_parts(lengths.get("histogram"))
    history_svg = figures.bars(values, labels, "history", "items in the history", "examples", 4)
    percentiles = {key: value for key, value in lengths.items() if key != "histogram"}
    return {
        "tables": tables,
        "dropped": dropped,
        "examples": {name: count(v) for name, v in (data.get("examples") or {}).items()},
        "events": {notes.readable(k): count(v) for k, v in (data.get("events") or {}).items()},
        "history": {name: count(value) for name, value in percentiles.items()},
        "history_svg": history_svg,
        "window": _window(data.get("window") or {}),
        "fingerprint": str(data.get("fingerprint") or ""),
    }


def _window(window: Mapping[str, Any]) -> str:
    first, last = window.get("first"), window.get("last")
    return f"{first} to {last}" if first is not None and last is not None else ""


def _index(index: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not index:
        return []
    rows = [
        ("kind", str(index.get("kind", ""))),
        ("items", count(index.get("items"))),
        ("dimensions", count(index.get("dim"))),
        ("recall@100 against exact search", number(index.get("recall_vs_exact"))),
        ("time to build", duration(index.get("build_s"))),
        ("size", size(index.get("bytes"))),
    ]
    parameters = index.get("parameters") or {}
    if parameters:
        rows.append(("parameters", ", ".join(f"{k} {v}" for k, v in parameters.items())))
    return rows


def _timings(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    timings = report.get("timings_s") or {}
    top = max(timings.values(), default=0.0) or 1.0
    cached = set(report.get("cached") or [])
    return [
        {
            "name": name,
            "note": "reused" if name in cached else notes.component_note(name),
            "text": duration(seconds),
            "share": round(100 * seconds / top, 1),
        }
        for name, seconds in timings.items()
    ]


def _digests(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    keys = ("training_digest", "config_digest", "code_digest", "content_digest")
    rows = [(key.replace("_", " "), str(manifest[key])[:16]) for key in keys if manifest.get(key)]
    if manifest.get("tessera_version"):
        rows.append(("tessera", str(manifest["tessera_version"])))
    return rows
