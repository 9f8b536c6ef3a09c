"""Spans: the last day of the data that a run reads, as days since 1970-01-01."""

from __future__ import annotations

import datetime as dt
from typing import Any

from core.errors import ConfigError

_EPOCH = dt.date(1970, 1, 1)


def parse_span(value: int | str | dt.date | None) -> int | None:
    """Returns a span as days since 1970-01-01.

    Args:
      value: `YYYY-MM-DD`, a number of days, or nothing (`None`, '') for data
        without spans.

    Raises:
      ConfigError: none of these.
    """
    if value is None or value == "":
        return None
    if isinstance(value, dt.date):
        return (value - _EPOCH).days
    try:
        return int(value)
    except ValueError:
        pass
    try:
        return (dt.date.fromisoformat(str(value)) - _EPOCH).days
    except ValueError:
        raise ConfigError(f"span {value!r}: expected YYYY-MM-DD, a number of days or ''") from None


def span_date(span: int | None) -> str:
    """Returns a span as `YYYY-MM-DD`, '' for None."""
    return "" if span is None else (_EPOCH + dt.timedelta(days=span)).isoformat()


def span_of(artifact: Any) -> int | None:
    """Returns the span that a TFX artifact carries, or None.

    Looked for in this order: the custom properties `span` and `run_date`, the
    type's own property `span`. 0 is what TFX writes for data without spans.
    """
    if artifact.has_custom_property("span"):
        return int(artifact.get_int_custom_property("span")) or None
    if artifact.has_custom_property("run_date"):
        return parse_span(artifact.get_string_custom_property("run_date"))
    if "span" in artifact.mlmd_artifact.properties:
        return int(artifact.span) or None
    return None
