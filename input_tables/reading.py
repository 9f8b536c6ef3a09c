"""Reads tables as a stream of validated Arrow batches."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from core.errors import DataError
from input_tables.contract import DeadLetter, ReadSettings, Table, columns_of
from input_tables.headers import csv_header, csv_problems, parquet_problems
from input_tables.rows import check_rows, short_text
from input_tables.sources import clear_errors, decompressed, is_parquet, opened
from input_tables.utf8 import Utf8Guard

_LOG = logging.getLogger("tessera")
_WRONG_WIDTH = "wrong number of columns"
_RELEASE_SECONDS = 1.0

Checked = tuple[pa.RecordBatch, list[DeadLetter]]


def read_table(
    source: str | Path | BinaryIO,
    table: Table,
    settings: ReadSettings,
    *,
    name: str | None = None,
    row_groups: Sequence[int] | None = None,
) -> Iterator[Checked]:
    """Yields (batch of good rows of `schema_of(table)`, dead letters) in file order.

    Args:
      source: path, or an open binary file object that can seek (gzip is
        recognised by content, so an already decompressed stream is fine).
      table: which table the file holds.
      settings: row checks and portions.
      name: what messages call the file; needed for file objects. A name that
        ends in `.parquet` is read as Parquet, anything else as CSV.
      row_groups: neighbours that are read of a Parquet file; None: all.

    Raises:
      DataError: missing column, wrong type, corrupt or unreadable file. (Arrow may
        crash on damaged Parquet; `input_tables.layout.check_headers` finds such files.)
    """
    if name is None:
        name = str(source) if isinstance(source, (str, Path)) else getattr(source, "name", "")
    name = str(name) or f"<{table}>"
    with opened(source, name) as stream:
        if is_parquet(name):
            batches = _read_parquet(stream, table, settings, name, row_groups)
            yield from _guarded(batches, name, "Parquet")
        else:
            yield from _guarded(_read_csv(stream, table, settings, name), name, "CSV")


def _guarded(batches: Iterator[Checked], name: str, kind: str) -> Iterator[Checked]:
    """Turns faults of reading, and only those, into `DataError`."""
    while True:
        with clear_errors(name, f"read as {kind}"):
            try:
                item = next(batches)
            except StopIteration:
                return
        yield item


def _refuse(problems: list[str]) -> None:
    if problems:
        raise DataError("\n".join(problems))


def _read_parquet(
    stream: BinaryIO,
    table: Table,
    settings: ReadSettings,
    name: str,
    row_groups: Sequence[int] | None,
) -> Iterator[Checked]:
    file = pq.ParquetFile(stream)
    schema = file.schema_arrow
    _refuse(parquet_problems(schema, table, name, settings.attributes))
    columns = columns_of(table, settings.attributes)
    wanted = [column.name for column in columns if column.name in schema.names]
    groups = range(file.num_row_groups) if row_groups is None else row_groups
    before = sum(file.metadata.row_group(group).num_rows for group in range(min(groups, default=0)))
    for batch in file.iter_batches(settings.batch_rows, list(groups), wanted):
        batch.validate(full=True)
        raw = dict(zip(batch.schema.names, batch.columns, strict=True))
        checked = check_rows(raw, batch.num_rows, table, settings, sentinel=False)
        numbers = before + 1 + checked.bad
        before += batch.num_rows
        yield checked.batch, _letters(name, numbers, checked.reasons, checked.texts)


class _Numbers:
    """Knows the record number of each good row although bad ones were skipped."""

    def __init__(self) -> None:
        self._next = 2  # the header is record 1
        self._skipped: list[int] = []

    def skip(self, number: int) -> None:
        self._skipped.append(number)

    def take(self, rows: int) -> np.ndarray:
        """Returns int64 `[rows]` record numbers of the next good rows."""
        skipped = np.asarray(self._skipped, np.int64)
        plain = self._next + np.arange(rows)
        # A good row moves back by one for each bad row before it.
        numbers = plain + np.searchsorted(skipped - np.arange(len(skipped)), plain, side="right")
        if rows:
            last = int(numbers[-1])
            passed = int(np.searchsorted(skipped, last))
            self._next, self._skipped = last + 1, self._skipped[passed:]
        return numbers


def _read_csv(
    stream: BinaryIO, table: Table, settings: ReadSettings, name: str
) -> Iterator[Checked]:
    names, line = csv_header(stream)
    _refuse(csv_problems(names, line, table, name, settings.attributes))
    guard = Utf8Guard(decompressed(stream))
    numbers, ragged = _Numbers(), list[DeadLetter]()

    def skip_row(row: pacsv.InvalidRow) -> str:
        numbers.skip(row.number)
        ragged.append(DeadLetter(name, row.number, _WRONG_WIDTH, short_text(row.text)))
        return "skip"

    columns = columns_of(table, settings.attributes)
    wanted = [column.name for column in columns if column.name in names]
    for batch in _csv_batches(guard, wanted, skip_row, settings.block_bytes, name):
        raw = dict(zip(batch.schema.names, batch.columns, strict=True))
        checked = check_rows(raw, batch.num_rows, table, settings, sentinel=guard.replaced)
        rows = numbers.take(batch.num_rows)[checked.bad]
        letters = [*ragged, *_letters(name, rows, checked.reasons, checked.texts)]
        ragged.clear()
        yield checked.batch, letters
    if ragged:
        yield check_rows({}, 0, table, settings, sentinel=False).batch, ragged
    if guard.quotes % 2:
        _LOG.warning('%s: odd number of quotes ("); an unclosed one hides rows', name)


def _csv_batches(
    guard: Utf8Guard, wanted: list[str], skip_row: object, block_bytes: int, name: str
) -> Iterator[pa.RecordBatch]:
    lent = (guard, skip_row)
    before = _references(lent)
    reader: pacsv.CSVStreamingReader | None = None
    try:
        reader = pacsv.open_csv(
            guard,
            # One thread: only then are the numbers of bad rows known.
            read_options=pacsv.ReadOptions(use_threads=False, block_size=block_bytes),
            parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip_row),
            convert_options=pacsv.ConvertOptions(
                check_utf8=False,
                include_columns=wanted,
                column_types={column: pa.binary() for column in wanted},
                strings_can_be_null=False,
                quoted_strings_can_be_null=False,
            ),
        )
        yield from iter(reader.read_next_batch, None)
    except StopIteration:
        return
    except pa.ArrowInvalid as error:
        if "straddling" in str(error):
            raise DataError(
                f"{name}: a row is longer than {block_bytes} bytes; "
                'most likely a quote (") is not closed'
            ) from error
        raise
    finally:
        _end_read_ahead(guard)
        del reader
        _wait_for_release(lent, before)


def _end_read_ahead(guard: Utf8Guard) -> None:
    """Lets Arrow's read-ahead thread come to its end before its reader is freed.

    Freeing the reader waits for that thread without giving it the interpreter:
    if the thread was about to read, both would wait forever. A thread that has
    read far enough ahead sleeps without having met the end; it gets a moment.
    """
    guard.stop()
    deadline = time.monotonic() + _RELEASE_SECONDS
    while not guard.at_rest() and (guard.busy or time.monotonic() < deadline):
        time.sleep(0.0005)


def _references(objects: tuple[object, ...]) -> int:
    return sum(sys.getrefcount(each) for each in objects)


def _wait_for_release(lent: tuple[object, ...], before: int) -> None:
    """Waits until Arrow's read-ahead thread has let go of Python objects.

    It does so a moment after the last batch. A process that ends within that
    moment is aborted: the thread asks for an interpreter that is gone.

    Args:
      lent: the objects.
      before: references to them before Arrow got them.
    """
    deadline = time.monotonic() + _RELEASE_SECONDS
    while _references(lent) > before and time.monotonic() < deadline:
        time.sleep(0.0005)


def _letters(
    name: str, numbers: np.ndarray, reasons: list[str], texts: list[str]
) -> list[DeadLetter]:
    rows = zip(numbers.tolist(), reasons, texts, strict=True)
    return [DeadLetter(name, number, reason, text) for number, reason, text in rows]
