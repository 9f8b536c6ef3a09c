"""Reads one file of one table into (bucket, bytes) elements, dead letters and counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from components.example_gen.attributes import with_attributes
from components.example_gen.columns import (
    EVENT_SCHEMA,
    FOLLOW_SCHEMA,
    ITEM_SCHEMA,
    USER_SCHEMA,
    conform,
)
from components.example_gen.partition import EVENT, FOLLOW, ITEM, USER, encode, partition
from components.example_gen.periods import Seen
from core.feature_config import FeatureConfig
from input_tables.contract import ENGAGEMENTS, FOLLOWS, ITEMS, USERS, DeadLetter, ReadSettings
from input_tables.feature_values import packed
from input_tables.layout import TableFile, TableSet
from input_tables.newer_parquet import parquet_rows
from input_tables.reading import read_table
from input_tables.remote_reading import opened_table
from input_tables.sources import is_parquet
from input_tables.survey import Survey

#: First row number by format, as dead letters count (a CSV header is record 1).
_FIRST_CSV_ROW, _FIRST_PARQUET_ROW = 2, 1
#: A CSV row is rarely shorter; gzip makes CSV about this much smaller.
_CSV_ROW_BYTES, _GZIP_RATIO = 25, 4


class Rows(NamedTuple):
    """Some neighbouring rows of a Parquet file.

    Attributes:
      groups: numbers of the row groups.
      before: rows before them.
    """

    groups: tuple[int, ...]
    before: int


def read(
    file: TableFile,
    settings: ReadSettings,
    buckets: tuple[int, int],
    counts: Counter[str],
    survey: Survey,
    rows: Rows | None = None,
) -> Iterator[tuple[int, bytes] | DeadLetter | Seen]:
    """Yields elements, dead letters, and when the engagements of each batch happened.

    Args:
      file: what to read.
      settings: row checks.
      buckets: numbers of item buckets and of user buckets. Engagements and items go
        to item buckets, follows and users to user buckets.
      counts: rows are added to it.
      survey: what the verdict on all tables needs is added to it.
      rows: what to read of it; None: all.
    """
    with opened_table(file, rows.groups if rows else None, settings.wanted) as source:
        yield from _read(source, file, settings, buckets, counts, survey, rows)


def _read(
    source: Path | BinaryIO,
    file: TableFile,
    settings: ReadSettings,
    buckets: tuple[int, int],
    counts: Counter[str],
    survey: Survey,
    rows: Rows | None,
) -> Iterator[tuple[int, bytes] | DeadLetter | Seen]:
    item_buckets, user_buckets = buckets
    first = _FIRST_PARQUET_ROW if is_parquet(file.path) else _FIRST_CSV_ROW
    numbers = _RowNumbers(first + (rows.before if rows else 0))
    for batch, letters in read_table(
        source,
        file.table,
        settings,
        name=file.name,
        row_groups=rows.groups if rows else None,
        lines=survey.lines,
    ):
        survey.add(file.table, batch, file.name)
        survey.bad[file.table] += len(letters)
        counts[f"rows:{file.table}"] += batch.num_rows + len(letters)
        yield from letters
        if file.table == ENGAGEMENTS:
            table = conform(batch, EVENT_SCHEMA)
            yield from _elements(table, "item_id", item_buckets, EVENT)
            if batch.num_rows:
                yield Seen.of(batch.column("timestamp"))
        elif file.table == ITEMS:
            places = numbers.take(batch.num_rows, letters)
            placed = with_attributes(_with_place(batch, file.name, places), settings.attributes)
            table = with_features(placed, settings.features.items, ITEM_SCHEMA)
            yield from _elements(table, "item_id", item_buckets, ITEM)
        elif file.table == FOLLOWS:
            table = conform(batch, FOLLOW_SCHEMA)
            yield from _elements(table, "user_id", user_buckets, FOLLOW)
        elif file.table == USERS:
            table = with_features(batch, settings.features.users, USER_SCHEMA)
            yield from _elements(table, "user_id", user_buckets, USER)


def with_features(
    rows: pa.RecordBatch | pa.Table, named: Mapping[str, FeatureConfig], schema: pa.Schema
) -> pa.Table:
    """Returns rows of `ITEM_SCHEMA` or `USER_SCHEMA` with their column `features`."""
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    if named:
        table = table.append_column("features", packed(named, rows))
    return conform(table, schema)


def _elements(table: pa.Table, key: str, buckets: int, tag: bytes) -> Iterator[tuple[int, bytes]]:
    for bucket, rows in partition(table, key, buckets):
        yield bucket, encode(rows, tag)


class _RowNumbers:
    """Numbers the good rows of a file: those that its dead letters leave free.

    A reader may report a dead letter some batches before the rows around it, never
    after them.
    """

    def __init__(self, first: int) -> None:
        self._next = first
        self._bad = np.zeros(0, np.int64)

    def take(self, rows: int, letters: list[DeadLetter]) -> np.ndarray:
        """Returns the numbers `[rows]` int64 of the next good rows."""
        fresh = np.array([letter.row for letter in letters], np.int64)
        self._bad = np.concatenate((self._bad[self._bad >= self._next], fresh))
        candidates = np.arange(self._next, self._next + rows + len(self._bad))
        numbers = np.setdiff1d(candidates, self._bad)[:rows]
        if rows:
            self._next = int(numbers[-1]) + 1
        return numbers


def _with_place(batch: pa.RecordBatch, path: str, numbers: np.ndarray) -> pa.Table:
    """Adds `file` and `row`, for dead letters that are only found later."""
    table = pa.Table.from_batches([batch])
    table = table.append_column("file", pa.array([path.encode()] * batch.num_rows, pa.binary()))
    return table.append_column("row", pa.array(numbers, pa.int64()))


def letter_json(table: str, letter: DeadLetter) -> str:
    """Returns a dead letter as one line of JSON."""
    return json.dumps({"table": table, **letter._asdict()}, ensure_ascii=False)


def bucket_numbers(
    tables: TableSet, bucket_rows: int, known: Mapping[str, int] | None = None
) -> tuple[int, int]:
    """Returns how many item buckets and user buckets a run needs.

    Items are held whole per bucket while engagements stream past them, so item
    buckets follow the size of the catalogue; user buckets that of the log.

    Args:
      tables: the input files.
      bucket_rows: rows of a bucket, about.
      known: rows by path, of Parquet files that cannot be opened here.
    """
    rows = {
        table: sum(_estimated_rows(file, known or {}) for file in tables.of(table))
        for table in (ENGAGEMENTS, ITEMS, FOLLOWS, USERS)
    }
    users = -(-(rows[ENGAGEMENTS] + (rows[FOLLOWS] + rows[USERS]) // 4) // bucket_rows)
    items = -(-max(rows[ITEMS], rows[ENGAGEMENTS] // 4) // bucket_rows)
    return max(1, items), max(1, users)


def _estimated_rows(file: TableFile, known: Mapping[str, int]) -> int:
    if file.path in known:
        return known[file.path]
    if is_parquet(file.path):
        return parquet_rows(file.path)
    name = file.path.lower()
    return file.bytes * (_GZIP_RATIO if name.endswith(".gz") else 1) // _CSV_ROW_BYTES
