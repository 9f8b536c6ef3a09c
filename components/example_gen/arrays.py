"""Vectorised helpers between Arrow and NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Coded(NamedTuple):
    """A column as dense codes in byte order of its values.

    Attributes:
      codes: `[rows]` int64; nulls have the highest code, `len(values)`.
      values: `[distinct]` sorted distinct values, code -> value.
    """

    codes: np.ndarray
    values: pa.Array


def coded(column: pa.ChunkedArray | pa.Array) -> Coded:
    """Encodes a column so that comparing codes compares values.

    Args:
      column: `[rows]` binary; nulls allowed, they sort last.
    """
    array = combined(column)
    encoded = array.dictionary_encode()
    distinct = encoded.dictionary
    order = np.asarray(pc.array_sort_indices(distinct)).astype(np.int64)
    ranks = np.empty(len(distinct) + 1, np.int64)
    ranks[order] = np.arange(len(distinct))
    ranks[-1] = len(distinct)
    indices = encoded.indices
    if indices.null_count:
        indices = indices.fill_null(len(distinct))
    return Coded(ranks[np.asarray(indices)], distinct.take(pa.array(order)))


def combined(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Returns a column as one contiguous array."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 1:
            return column.chunk(0)
        return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Concatenates `arange(start, start + length)` of every pair.

    Args:
      starts: `[n]` int64.
      lengths: `[n]` int64, 0 or more.

    Returns:
      `[sum(lengths)]` int64.
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Returns list offsets `[n + 1]` int64 of lists with `lengths` `[n]`."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def lists(values: pa.Array, lengths: np.ndarray) -> pa.LargeListArray:
    """Cuts flat values into lists of `lengths` `[n]`."""
    return pa.LargeListArray.from_arrays(pa.array(offsets_of(lengths)), values)


def singles(values: pa.Array) -> pa.LargeListArray:
    """Wraps each value `[n]` in a list of one."""
    return pa.LargeListArray.from_arrays(
        pa.array(np.arange(len(values) + 1, dtype=np.int64)), values
    )


def optionals(values: pa.Array) -> pa.LargeListArray:
    """Wraps each value `[n]` in a list of one; nulls become empty lists."""
    present = np.asarray(pc.is_valid(values))
    return lists(values.drop_null(), present.astype(np.int64))


def run_starts(*keys: np.ndarray) -> np.ndarray:
    """Marks rows `[n]` bool where any of the sorted keys `[n]` differs from the row before."""
    starts = np.ones(len(keys[0]), bool)
    if len(starts) > 1:
        starts[1:] = False
        for key in keys:
            starts[1:] |= key[1:] != key[:-1]
    return starts


def run_ends_per_row(starts: np.ndarray) -> np.ndarray:
    """Returns for each row `[n]` the index one past the end of its run.

    Args:
      starts: `[n]` bool, from `run_starts`.
    """
    firsts = np.flatnonzero(starts)
    ends = np.append(firsts, len(starts))[1:]
    return np.repeat(ends, ends - firsts)


def position_in_run(starts: np.ndarray) -> np.ndarray:
    """Returns each row's position `[n]` int64 within its run (0 for the first)."""
    rows = np.arange(len(starts), dtype=np.int64)
    firsts = np.flatnonzero(starts)
    lengths = np.diff(np.append(firsts, len(starts)))
    return rows - np.repeat(firsts, lengths)
