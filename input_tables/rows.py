"""Vectorised checks of rows: batches of raw columns in, canonical batches out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from input_tables.blocks import SENTINEL
from input_tables.columns import as_text, clean_text, clean_topics, parse_time
from input_tables.contract import (
    DEAD_LETTER_TEXT_CHARS,
    FOLLOWS,
    MILLISECONDS_FROM,
    Column,
    ReadSettings,
    Table,
    columns_of,
    schema_of,
)
from input_tables.faults import Faults

#: Columns whose values may not lie after `ReadSettings.max_timestamp`.
_BOUNDED = ("timestamp",)
#: First seconds of the years 9999 and 10000.
_YEAR_9999, _YEAR_10000 = 253_370_764_800, 253_402_300_800


class CheckedRows(NamedTuple):
    """Result of `check_rows`.

    Attributes:
      batch: the good rows, `schema_of(table, settings.wanted)`.
      bad: int64 `[bad]` positions of bad rows, ascending.
      reasons: `[bad]` texts.
      texts: `[bad]` rows as read, shortened.
    """

    batch: pa.RecordBatch
    bad: np.ndarray
    reasons: list[str]
    texts: list[str]


def check_rows(
    raw: dict[str, pa.Array], rows: int, table: Table, settings: ReadSettings, sentinel: bool
) -> CheckedRows:
    """Checks one batch.

    Args:
      raw: columns as read, of `[rows]`; optional ones may be absent.
      rows: number of rows.
      table: whose contract applies.
      settings: epoch checks.
      sentinel: whether values may hold `SENTINEL` for invalid bytes.
    """
    faults = Faults(rows)
    schema = schema_of(table, settings.wanted)
    columns = [
        _clean(raw, column, schema.field(column.name).type, rows, settings, faults, sentinel)
        for column in columns_of(table, settings.wanted)
    ]
    if table == FOLLOWS:
        _check_follow_period(columns, faults)
    batch = pa.RecordBatch.from_arrays(columns, schema=_all_nullable(schema))
    if faults.codes is None:
        return CheckedRows(_as_canonical(batch, schema), np.empty(0, np.int64), [], [])
    bad = np.flatnonzero(faults.codes >= 0)
    good = batch.filter(pa.array(faults.codes < 0))
    reasons = [faults.reasons[code] for code in faults.codes[bad]]
    return CheckedRows(_as_canonical(good, schema), bad, reasons, _texts(raw, bad))


def _clean(
    raw: dict[str, pa.Array],
    column: Column,
    wanted: pa.DataType,
    rows: int,
    settings: ReadSettings,
    faults: Faults,
    sentinel: bool,
) -> pa.Array:
    array, is_topics = raw.get(column.name), column.kind == "topics"
    if array is None or pa.types.is_null(array.type):
        empty = pa.nulls(rows, wanted)
        return clean_topics(empty, column.name, faults, sentinel) if is_topics else empty
    if is_topics:
        return clean_topics(array, column.name, faults, sentinel, settings.topics_separator)
    if column.kind == "time":
        times = parse_time(array, column, faults, sentinel)
        if column.name == "unfollowed_at" and settings.time_unit == "seconds":
            times = _without_for_ever(times)
        _check_epoch(times, column, settings, faults)
        return times
    if column.kind in ("value", "values"):
        array = as_text(array)
    return clean_text(array, column, faults, sentinel)


def _without_for_ever(times: pa.Array) -> pa.Array:
    """Returns null for the last year that calendars know: how databases write `for ever`."""
    for unit in (1, 1_000, 1_000_000):
        year = pc.and_(
            pc.greater_equal(times, _YEAR_9999 * unit), pc.less(times, _YEAR_10000 * unit)
        )
        times = pc.if_else(year.fill_null(False), pa.scalar(None, pa.int64()), times)
    return times


def _check_epoch(times: pa.Array, column: Column, settings: ReadSettings, faults: Faults) -> None:
    values = times.fill_null(0).to_numpy(zero_copy_only=False)
    if not len(values):
        return
    low, high = int(values.min()), int(values.max())
    if low < 0:
        faults.flag(values < 0, f"{column.name} is negative")
    if settings.time_unit != "seconds":
        return
    if high >= MILLISECONDS_FROM:
        reason = f"{column.name} is too large for seconds; it looks like milliseconds"
        faults.flag(values >= MILLISECONDS_FROM, reason)
    bound = settings.max_timestamp
    if bound is not None and column.name in _BOUNDED and high > bound:
        faults.flag(values > bound, f"{column.name} is in the future (after the run date or now)")


def _check_follow_period(columns: list[pa.Array], faults: Faults) -> None:
    since, until = columns[2], columns[3]
    if until.null_count == len(until):
        return
    backwards = pc.less(until, since).fill_null(False)
    faults.flag(backwards.to_numpy(zero_copy_only=False), "unfollowed_at is before timestamp")


def _all_nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])


def _as_canonical(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _texts(raw: dict[str, pa.Array], bad: np.ndarray) -> list[str]:
    indices = pa.array(bad)
    values = [array.take(indices).to_pylist() for array in raw.values()]
    return [short_text(",".join(_shown(v) for v in row)) for row in zip(*values, strict=True)]


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value[: 4 * DEAD_LETTER_TEXT_CHARS].decode("utf-8", "replace")
    if isinstance(value, list):
        return "|".join(_shown(v) for v in value[:DEAD_LETTER_TEXT_CHARS])
    return str(value)


def short_text(text: str) -> str:
    """Returns the text as a dead letter keeps it: bad bytes as U+FFFD, shortened."""
    return text.replace(SENTINEL, "\ufffd")[:DEAD_LETTER_TEXT_CHARS]
