"""Rows that a stray quote has swallowed."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SHOWN = 80


def swallowed(row: Sequence[str], separator: str, key: int = 0) -> str | None:
    """Returns a line within a quoted value that looks like a row of the same table, or None.

    It has the right number of separators, and in the id's place something that is
    written like this row's own id. The line with the closing quote goes on with
    the fields that follow the value, so it lacks them.

    Args:
      row: fields, one of which holds line breaks.
      separator: of the fields.
      key: the field that is an id.
    """
    for place, value in enumerate(row):
        inner = value.split("\n")[1:]
        for number, part in enumerate(inner, 1):
            last = number == len(inner)
            fields = part.rstrip("\r").split(separator)
            wanted = {len(row), place + 1} if last and place else {len(row)}
            if len(row) < 2 or len(fields) not in wanted or key >= len(fields):
                continue
            if _shape(fields[key]) == _shape(row[key]):
                return part[:_SHOWN]
    return None


def _shape(text: str) -> tuple[str, bool]:
    return re.sub(r"\w+", "x", text), any(letter.isdigit() for letter in text)
