"""What a new items table changes in the catalogue of an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.attributes import attribute_columns
from components.refresh.catalogue_gen.changes import binary, joined_topics


class Changes(NamedTuple):
    """Rows that differ.

    Attributes:
      rows: `[changed]` int64 rows of the new table: items that the index lacks or has otherwise.
      gone: `[any]` int32 rows of the index: withdrawn items and those that `rows` replace.
      added: items that the index lacks.
      changed: items with other topics, features or attributes than in the index.
      withdrawn: `[any]` int32 rows of the index without an item in the new table.
    """

    rows: np.ndarray
    gone: np.ndarray
    added: int
    changed: int
    withdrawn: np.ndarray

    def figures(self) -> dict[str, int]:
        """Returns the numbers that manifests record."""
        return {
            "added": self.added,
            "changed": self.changed,
            "withdrawn": len(self.withdrawn),
        }


def compare(
    index: pa.Table, attributes: pa.Table | None, items: pa.Table, names: Sequence[str]
) -> Changes:
    """Compares the catalogue of an index with a new table.

    Args:
      index: `item_id`, `topics` and, of a model with features, `features`, in the order of the
        index.
      attributes: `item_id` and a column per name, in the same order; None without any.
      items: rows of `ITEM_SCHEMA`, distinct.
      names: what `attributes` of the items holds, in order.
    """
    place = pc.index_in(binary(index["item_id"]), value_set=binary(items["item_id"]))
    there = np.asarray(place.is_valid())
    own, new = np.flatnonzero(there), place.drop_null()
    same = np.ones(len(own), bool)
    for name in {"topics", "features"} & set(index.column_names):
        before = joined_topics(index[name]).take(pa.array(own))
        same &= _equal(before, joined_topics(items[name]).take(new))
    if attributes is not None and names:
        now = attribute_columns(items, names)
        for name in names:
            before = binary(attributes[name]).take(pa.array(own))
            same &= _equal(before, binary(now[name]).take(new))
    rows_of_new = np.asarray(new)
    known = np.zeros(items.num_rows, bool)
    known[rows_of_new] = True
    changed, added = rows_of_new[~same], np.flatnonzero(~known)
    withdrawn = np.flatnonzero(~there)
    return Changes(
        rows=np.sort(np.concatenate([changed, added])),
        gone=np.sort(np.concatenate([withdrawn, own[~same]])).astype(np.int32),
        added=len(added),
        changed=len(changed),
        withdrawn=withdrawn.astype(np.int32),
    )


def _equal(before: pa.Array, after: pa.Array) -> Any:
    """Returns which values are equal; null and the empty text are the same."""
    return np.asarray(pc.equal(before.fill_null(b""), after.fill_null(b"")))
