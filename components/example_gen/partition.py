"""Rows to buckets and to bytes: what Beam moves between the steps.

A Beam element is `(bucket, bytes)`, where the bytes are a tag and one Arrow
record batch without its schema. Thousands of rows travel as one element, so
Beam's cost per element does not matter.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from components.example_gen.arrays import combined
from components.example_gen.columns import (
    EVENT_SCHEMA,
    FOLLOW_SCHEMA,
    ITEM_SCHEMA,
    TOPIC_SCHEMA,
    USER_SCHEMA,
)

EVENT, TOPICS, FOLLOW, ITEM, USER = b"e", b"t", b"f", b"i", b"u"
_SCHEMAS = {
    EVENT: EVENT_SCHEMA,
    TOPICS: TOPIC_SCHEMA,
    FOLLOW: FOLLOW_SCHEMA,
    ITEM: ITEM_SCHEMA,
    USER: USER_SCHEMA,
}


def buckets_of(ids: pa.ChunkedArray | pa.Array, buckets: int) -> np.ndarray:
    """Returns the bucket of each id, the same on every machine.

    Args:
      ids: `[rows]` binary without nulls.
      buckets: number of buckets.

    Returns:
      `[rows]` int64 in `[0, buckets)`.
    """
    if buckets == 1:
        return np.zeros(len(ids), np.int64)
    encoded = combined(ids).dictionary_encode()
    distinct = np.fromiter(
        (zlib.crc32(value) % buckets for value in encoded.dictionary.to_pylist()),
        np.int64,
        len(encoded.dictionary),
    )
    return distinct[np.asarray(encoded.indices)]


def partition(table: pa.Table, key: str, buckets: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yields (bucket, rows of that bucket), empty buckets left out.

    Args:
      table: any rows.
      key: name of the id column that decides the bucket.
      buckets: number of buckets.
    """
    if not table.num_rows:
        return
    bucket = buckets_of(table.column(key), buckets)
    order = np.argsort(bucket, kind="stable")
    ordered = _one_batch(table.take(pa.array(order)) if buckets > 1 else table)
    edges = np.searchsorted(bucket[order], np.arange(buckets + 1))
    for number in np.flatnonzero(np.diff(edges)):
        start, stop = int(edges[number]), int(edges[number + 1])
        yield int(number), ordered.slice(start, stop - start)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [combined(column) for column in table.columns], schema=table.schema
    )


def encode(batch: pa.RecordBatch, tag: bytes) -> bytes:
    """Returns rows of the tag's schema as bytes."""
    return tag + batch.serialize().to_pybytes()


def rows_of(elements: Iterable[bytes], tag: bytes) -> Iterator[pa.Table]:
    """Yields the tables among `elements` that carry `tag`; others are passed over."""
    schema = _SCHEMAS[tag]
    for element in elements:
        if element[:1] == tag:
            batch = pa.ipc.read_record_batch(pa.py_buffer(element).slice(1), schema)
            yield pa.Table.from_batches([batch])


def gathered(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Joins small tables into tables of at least `rows` rows, but for the last."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(table)
        count += table.num_rows
        if count >= rows:
            yield pa.concat_tables(held)
            held, count = [], 0
    if held:
        yield pa.concat_tables(held)
