"""The items that a published version serves: those of its index, with a delta or without."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.index_builder.layout import (
    ATTRIBUTES_FILE,
    DELTA_ATTRIBUTES,
    DELTA_GONE,
    DELTA_ITEMS,
    ITEMS_FILE,
)

_CHANGED = {ITEMS_FILE: DELTA_ITEMS, ATTRIBUTES_FILE: DELTA_ATTRIBUTES}


def served_items(folder: Path) -> pa.Table:
    """Returns `item_id` and `topics` of the items that a version serves.

    Raises:
      OSError, ArrowException: a file is missing or broken.
    """
    return _merged(folder, ITEMS_FILE).select(["item_id", "topics"])


def served_tables(folder: Path) -> dict[str, pa.Table]:
    """Returns items and, where there are any, attributes by the names of their files."""
    return {name: _merged(folder, name) for name in _CHANGED if (folder / name).is_file()}


def _merged(folder: Path, name: str) -> pa.Table:
    table = pq.read_table(folder / name)
    if not (folder / DELTA_GONE).is_file():
        return table
    gone = pq.read_table(folder / DELTA_GONE)["item_id"].cast(pa.large_binary())
    left = pc.is_in(table["item_id"].cast(pa.large_binary()), value_set=gone.combine_chunks())
    changed = pq.read_table(folder / _CHANGED[name]).select(table.column_names)
    changed = changed.cast(table.schema)
    return pa.concat_tables([table.filter(pc.invert(left)), changed])
