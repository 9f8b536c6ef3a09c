"""What differs between the served catalogue and the new one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import DataError

_SHOWN = 3
#: Between the topics of an item when they are compared; no topic of UTF-8 text holds it.
_BETWEEN = b"\xff"


def changes(served: Path, items: pa.Table) -> dict[str, Any]:
    """Compares the items of a published bundle with the rows of the new table.

    Args:
      served: `items.parquet` of the bundle: `item_id`, `topics`.
      items: the new catalogue, distinct `item_id` (binary) and `topics` (list of binary).

    Returns:
      `items_before`, `items`, `added`, `removed`, `topics_changed` and, of a model with features,
      `features_changed` (numbers), `unchanged`
      (bool) and `removed_examples`, a few ids.
    """
    before = pq.read_table(served)
    known = "features" in before.column_names
    old_ids, new_ids = binary(before.column("item_id")), binary(items.column("item_id"))
    place = pc.index_in(old_ids, value_set=new_ids)
    kept = place.is_valid()
    old_topics = joined_topics(before.column("topics")).filter(kept)
    new_topics = joined_topics(items.column("topics")).take(place.drop_null())
    removed = old_ids.filter(pc.invert(kept))
    moved = pc.sum(pc.not_equal(old_topics, new_topics)).as_py() or 0
    told = 0
    if known:
        old = joined_topics(before.column("features")).filter(kept)
        new = joined_topics(items.column("features")).take(place.drop_null())
        told = pc.sum(pc.not_equal(old, new)).as_py() or 0
    added = len(new_ids) - len(old_topics)
    return {
        "items_before": len(old_ids),
        "items": len(new_ids),
        "added": added,
        "removed": len(removed),
        "topics_changed": moved,
        **({"features_changed": told} if known else {}),
        "unchanged": not (added or moved or told or len(removed)),
        "removed_examples": [
            name.decode(errors="replace") for name in removed.slice(0, _SHOWN).to_pylist()
        ],
    }


def same_attributes(served: Path, items: pa.Table, names: Sequence[str]) -> bool:
    """Returns whether requests filter by the same values as those of the published bundle.

    Args:
      served: `item_attributes.parquet` of the bundle; absent where it has no filters.
      items: rows of `ITEM_SCHEMA`, of the same items.
      names: what `attributes` of the items holds, in order.
    """
    if not names or not served.is_file():
        return not names and not served.is_file()
    before = pq.read_table(served)
    if before.column_names != ["item_id", *names]:
        return False
    place = pc.index_in(binary(items.column("item_id")), value_set=binary(before["item_id"]))
    if place.null_count or before.num_rows != items.num_rows:
        return False
    flat = items.column("attributes").combine_chunks().flatten()
    rows = np.arange(items.num_rows)
    return all(
        binary(before[name]).take(place).equals(flat.take(pa.array(rows * len(names) + number)))
        for number, name in enumerate(names)
    )


def refuse_lost_items(found: dict[str, Any], max_removed_share: float, places: str) -> None:
    """Refuses a table without rows, or one that lost too many of the served items.

    Raises:
      DataError: names numbers, bound and a few lost items.
    """
    if not found["items"]:
        raise DataError(
            f"{places}: the items table has no rows; a refresh would serve an empty catalogue"
        )
    share = found["removed"] / max(1, found["items_before"])
    if share > max_removed_share:
        raise DataError(
            f"{places}: {found['removed']:,} of the {found['items_before']:,} served items "
            f"({share:.0%}) are not in the new table, for example "
            f"{', '.join(map(repr, found['removed_examples']))}; refresh.max_removed_share allows "
            f"{max_removed_share:.0%}. Deliver the whole table, or raise that bound"
        )


def binary(column: pa.ChunkedArray) -> pa.Array:
    """Returns a column of strings as one array of large_binary."""
    return pa.chunked_array(column.chunks, column.type).cast(pa.large_binary()).combine_chunks()


def texts_of(column: pa.ChunkedArray) -> list[bytes]:
    """Returns a column of strings as a list; `to_pylist` would take ten times as long."""
    texts: list[bytes] = binary(column).to_numpy(zero_copy_only=False).tolist()
    return texts


def joined_topics(column: pa.ChunkedArray) -> pa.Array:
    """Returns each item's topics as one value; no topics and null are the same."""
    lists = column.cast(pa.large_list(pa.large_binary())).combine_chunks()
    return pc.binary_join(lists, pa.scalar(_BETWEEN, pa.large_binary())).fill_null(b"")
