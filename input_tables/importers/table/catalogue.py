"""One row per item, made of all rows that name it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def catalogue(rows: pa.Table) -> tuple[pa.Table, int]:
    """Returns (items, number of rows that were merged into an earlier one).

    The topics of an item are those of all its rows; its title and `created_at` are
    the first that are there.

    Args:
      rows: item_id, topics (list of strings), title, created_at.
    """
    encoded = rows["item_id"].combine_chunks().dictionary_encode()
    code = encoded.indices.to_numpy().astype(np.int64)
    count = len(encoded.dictionary)
    if count == rows.num_rows:
        return rows, 0
    columns = {
        "item_id": encoded.dictionary,
        "topics": _union(rows["topics"].combine_chunks(), code, count),
        "title": _first(rows["title"], code, count),
        "created_at": _first(rows["created_at"], code, count),
    }
    return pa.table(columns), rows.num_rows - count


def _union(topics: pa.ListArray, code: np.ndarray, count: int) -> pa.ListArray:
    parent = pc.list_parent_indices(topics).to_numpy().astype(np.int64)
    names = pc.list_flatten(topics).dictionary_encode()
    name = names.indices.to_numpy().astype(np.int64)
    item = code[parent]
    _, first = np.unique(item * max(1, len(names.dictionary)) + name, return_index=True)
    first.sort()
    order = first[np.argsort(item[first], kind="stable")]
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(np.bincount(item[order], minlength=count), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), names.dictionary.take(pa.array(name[order])))


def _first(values: pa.ChunkedArray, code: np.ndarray, count: int) -> pa.Array:
    """Returns the first value of each code that is not null."""
    there = np.flatnonzero(values.is_valid().to_numpy())
    found, first = np.unique(code[there], return_index=True)
    row = np.zeros(count, np.int64)
    row[found] = there[first]
    has = np.zeros(count, bool)
    has[found] = True
    return values.combine_chunks().take(pa.array(row, mask=~has))
