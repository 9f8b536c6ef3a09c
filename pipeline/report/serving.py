"""The section on serving validation: from `validation.json` to rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MODELS = {"retriever": "stock operations", "retriever_scann": "ScaNN"}


def failed_reasons(serving: Mapping[str, Any]) -> list[str]:
    """Returns why a validation failed, one text per failed check."""
    failed = (check for check in _checks(serving) if not check.get("passed"))
    named = ((model_name(c.get("model")), str(c.get("reason") or c.get("name"))) for c in failed)
    return [": ".join(filter(None, parts)) for parts in named]


def model_name(model: Any) -> str:
    """Returns the name of a SavedModel for people."""
    name = str(model or "")
    return _MODELS.get(name, name)


def serving_view(serving: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the variables of the section, empty when nothing was validated.

    Args:
      serving: the key `serving` of the report.
    """
    checks = _checks(serving)
    if not checks:
        return {}
    latency, load, rss = (
        value if isinstance(value, Mapping) else {}
        for value in (serving.get(key) for key in ("latency_ms", "load_s", "rss_mb"))
    )
    return {
        **{key: serving.get(key) for key in ("served", "requests", "split", "skew", "recall")},
        "models": {
            model: {
                **(ms if isinstance(ms, Mapping) else {}),
                "load": load.get(model),
                "rss": rss.get(model),
            }
            for model, ms in latency.items()
        },
        "failed": [check for check in checks if not check.get("passed")],
        "passed": [check for check in checks if check.get("passed")],
    }


def _checks(serving: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    checks = serving.get("checks")
    return [c for c in checks if isinstance(c, Mapping)] if isinstance(checks, list) else []


def with_unit(value: Any, unit: str, digits: int = 1) -> str:
    """Formats a figure with its unit; '' stands for none."""
    return f"{value:,.{digits}f} {unit}" if isinstance(value, (int, float)) else ""
