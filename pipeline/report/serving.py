"""The section on serving validation: from `validation.json` to rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MODELS = {"retriever": "stock operations", "retriever_scann": "ScaNN"}


def failed_reasons(serving: Mapping[str, Any]) -> list[str]:
    """Returns why a validation failed, one text per failed check."""
    return [
        ": ".join(part for part in (model_name(c), str(c.get("reason") or c.get("name"))) if part)
        for c in _checks(serving)
        if not c.get("passed")
    ]


def model_name(check: Mapping[str, Any]) -> str:
    """Returns the name of the SavedModel that a check is about, for people."""
    model = str(check.get("model") or "")
    return _MODELS.get(model, model)


def serving_view(serving: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the variables of the section, empty when nothing was validated.

    Args:
      serving: the key `serving` of the report.
    """
    checks = [
        {
            "model": model_name(c),
            "name": str(c.get("name", "")),
            "passed": bool(c.get("passed")),
            "reason": str(c.get("reason", "")),
        }
        for c in _checks(serving)
    ]
    if not checks:
        return {}
    return {
        "models": _models(serving),
        "failed": [c for c in checks if not c["passed"]],
        "passed": [c for c in checks if c["passed"]],
        "facts": _facts(serving),
    }


def _checks(serving: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    checks = serving.get("checks")
    return [c for c in checks if isinstance(c, Mapping)] if isinstance(checks, list) else []


def _models(serving: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row of figures per SavedModel."""
    latency, load, rss = (_mapping(serving, key) for key in ("latency_ms", "load_s", "rss_mb"))
    rows = []
    for model, figures in latency.items():
        figures = figures if isinstance(figures, Mapping) else {}
        rows.append(
            {
                "name": _MODELS.get(model, str(model)),
                "note": "what the evaluator measured" if model == serving.get("served") else "",
                "p50": _with_unit(figures.get("p50"), 1, "ms"),
                "p99": _with_unit(figures.get("p99"), 1, "ms"),
                "load": _with_unit(load.get(model), 1, "s"),
                "rss": _with_unit(rss.get(model), 0, "MB"),
            }
        )
    return rows


def _facts(serving: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = []
    if serving.get("requests"):
        facts.append(("real requests replayed", f"{serving['requests']} ({serving.get('split')})"))
    skew, recall = serving.get("skew"), serving.get("recall")
    if isinstance(skew, (int, float)):
        facts.append(("train/serve skew, largest difference of a number", f"{skew:g}"))
    if isinstance(recall, (int, float)):
        facts.append(("ScaNN's lists against exact search", f"{recall:.2%} of the items"))
    return facts


def _mapping(serving: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = serving.get(key)
    return value if isinstance(value, Mapping) else {}


def _with_unit(value: Any, digits: int, unit: str) -> str:
    return f"{value:,.{digits}f} {unit}" if isinstance(value, (int, float)) else ""
