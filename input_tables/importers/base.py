"""What importers share: their result, ratings and numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from core.errors import DataError
from input_tables.importers.source import Source


class Imported(NamedTuple):
    """Canonical tables made from one public data set.

    Attributes:
      engagements: user_id, item_id, timestamp, action.
      items: item_id, topics (list of strings), title or created_at where known.
      follows: user_id, topic, timestamp; None where the set has no such thing.
      time_unit: what `timestamp` counts.
      notes: what a reader of the figures must know.
      warnings: what looks wrong, for example ids that do not meet.
    """

    engagements: pa.Table
    items: pa.Table
    follows: pa.Table | None
    time_unit: Literal["seconds", "order"]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Importer(NamedTuple):
    """One known data set."""

    name: str
    title: str
    files: str
    read: Callable[[Source], Imported]


def whole_numbers(table: pa.Table, column: str, where: str) -> pa.ChunkedArray:
    """Returns a string column as int64; raises DataError with the first bad value."""
    values = table[column]
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:
        good = pc.match_substring_regex(values, r"^-?[0-9]{1,18}$").to_numpy()
        row = int((~good.astype(bool)).argmax())
        shown = values[row].as_py()
        raise DataError(
            f"{where}: {column} of data row {row + 1} is no number: {shown!r}"
        ) from None


def ratings(table: pa.Table, where: str) -> pa.Table:
    """Returns engagements from string columns user_id, item_id, rating, timestamp."""
    return pa.table(
        {
            "user_id": filled(table, "user_id", where),
            "item_id": filled(table, "item_id", where),
            "timestamp": whole_numbers(table, "timestamp", where),
            "action": rate_action(filled(table, "rating", where)),
        }
    )


def filled(table: pa.Table, column: str, where: str) -> pa.ChunkedArray:
    """Returns a string column; raises DataError with the first row where it is empty."""
    row = pc.index(table[column], "").as_py()
    if row >= 0:
        raise DataError(f"{where}: {column} of data row {row + 1} is empty")
    return table[column]


def rate_action(rating: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns `rate_<rating>` for each rating; `4.0` is written as `4`."""
    plain = pc.replace_substring_regex(rating, r"\.0+$", "")
    return pc.binary_join_element_wise("rate", plain, "_")
