"""Filters of a request as callers write them, and as the signatures take them. No TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from core.errors import ConfigError

#: Signature -> the same with filters.
FILTERED = {"retrieve": "retrieve_filtered", "similar_items": "similar_items_filtered"}

_CONDITION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(>=|<=|=)(.*)", re.DOTALL)

#: What a column is compared with: a value, several (any of them), or `(least, most)` for a
#: number, either None for no bound.
Condition: TypeAlias = "str | bool | float | Sequence[str] | tuple[float | None, float | None]"


@dataclass(frozen=True)
class Filters:
    """Which items may be brought.

    Attributes:
      allow: the only items; None for all.
      deny: items that are not brought.
      conditions: texts as `filter` of a signature takes them, e.g. `region=de`.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.allow is not None or bool(self.deny or self.conditions)

    def inputs(self, rows: int) -> dict[str, np.ndarray]:
        """Returns the filter inputs of a batch, `[rows, any]` bytes each, b'' pads."""
        # An empty list allows nothing; a row of pads would allow everything.
        allow = self.allow if self.allow is None or self.allow else ("\x00",)
        return {
            "allow_item_id": _repeated(allow or (), rows),
            "deny_item_id": _repeated(self.deny, rows),
            "filter": _repeated(self.conditions, rows),
        }


NO_FILTERS = Filters()


def make_filters(
    allow: Sequence[str] | None = None,
    deny: Sequence[str] = (),
    filters: Mapping[str, Condition] | Sequence[str] = (),
) -> Filters:
    """Reads filters as a caller writes them.

    Args:
      allow: ids of the only items that may be brought; None for all.
      deny: ids of items that are not brought.
      filters: column -> what it must be, or conditions as texts (`created_at>=1700000000`).

    Raises:
      ConfigError: a condition that cannot be read, or a text where a list is meant.
    """
    for name, given in (("allow", allow), ("deny", deny), ("filters", filters)):
        if isinstance(given, (str, bytes)):
            raise ConfigError(f"`{name}` is a list, not the text {given!r}")
    if isinstance(filters, Mapping):
        conditions = [each for name, value in filters.items() for each in _written(name, value)]
    else:
        conditions = list(filters)
    for condition in conditions:
        if not _CONDITION.fullmatch(condition):
            raise ConfigError(
                f"filter {condition!r}: write COLUMN=VALUE, or COLUMN>=NUMBER and COLUMN<=NUMBER"
            )
    return Filters(None if allow is None else tuple(allow), tuple(deny), tuple(conditions))


def _written(name: str, value: Condition) -> list[str]:
    """Returns the conditions that a column must satisfy."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple):
        if len(value) != 2 or any(isinstance(bound, str) for bound in value):
            raise ConfigError(f"filter {name}: a range is (least, most), None for no bound")
        pairs = zip((">=", "<="), value, strict=True)
        return [f"{name}{sign}{bound}" for sign, bound in pairs if bound is not None]
    if isinstance(value, bool):
        return [f"{name}={str(value).lower()}"]
    if isinstance(value, (str, int, float)):
        return [f"{name}={value}"]
    # No value at all fits nothing.
    return [each for one in value for each in _written(name, one)] or [f"{name}=\x00"]


def _repeated(texts: Sequence[str], rows: int) -> np.ndarray:
    array = np.full((rows, max(1, len(texts))), b"", object)
    array[:, : len(texts)] = [text.encode() for text in texts]
    return array
