"""Reads tables as a stream of validated Arrow batches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from core.errors import DataError
from input_tables import newer_parquet
from input_tables.blocks import blocks
from input_tables.columns import as_binary
from input_tables.contract import DeadLetter, ReadSettings, Table, columns_of
from input_tables.headers import csv_header, csv_problems, parquet_problems
from input_tables.rows import check_rows, short_text
from input_tables.sources import clear_errors, decompressed, is_parquet, opened
from input_tables.swallowed import refuse_swallowed_rows

WRONG_WIDTH = "wrong number of columns"
#: What is added where a row looks as Spark writes quotes.
SPARK_ESCAPE = '; \\" is how Spark writes a quote: set data.csv_escape to a backslash'

_NO_RECORD = re.compile(rb"[\r\n]*\Z")

Checked = tuple[pa.RecordBatch, list[DeadLetter]]


def read_table(
    source: str | Path | BinaryIO,
    table: Table,
    settings: ReadSettings,
    *,
    name: str | None = None,
    row_groups: Sequence[int] | None = None,
    lines: Counter[str] | None = None,
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
      lines: grows at the table's name by the lines of a CSV file, its header included.

    Raises:
      DataError: missing column, wrong type, corrupt or unreadable file. (Arrow may
        crash on damaged Parquet; `input_tables.layout.check_headers` finds such files.)
    """
    if name is None:
        name = str(source) if isinstance(source, (str, Path)) else getattr(source, "name", "")
    name = str(name) or f"<{table}>"
    counted = Counter[str]() if lines is None else lines
    with opened(source, name) as stream:
        if is_parquet(name):
            path = source if isinstance(source, (str, Path)) else None
            checked = _read_parquet(stream, table, settings, name, path, row_groups)
            yield from _guarded(checked, name, "Parquet")
        else:
            yield from _guarded(_read_csv(stream, table, settings, name, counted), name, "CSV")


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
    path: str | Path | None,
    row_groups: Sequence[int] | None,
) -> Iterator[Checked]:
    before = _rows_before(stream, row_groups) if row_groups else 0
    for batch in _parquet_batches(stream, table, settings, name, path, row_groups):
        batch.validate(full=True)
        raw = dict(zip(batch.schema.names, batch.columns, strict=True))
        checked = check_rows(raw, batch.num_rows, table, settings, sentinel=False)
        numbers = before + 1 + checked.bad
        before += batch.num_rows
        yield checked.batch, _letters(name, numbers, checked.reasons, checked.texts)


def _rows_before(stream: BinaryIO, row_groups: Sequence[int]) -> int:
    metadata = pq.ParquetFile(stream).metadata
    return sum(metadata.row_group(group).num_rows for group in range(min(row_groups)))


def _parquet_batches(
    stream: BinaryIO,
    table: Table,
    settings: ReadSettings,
    name: str,
    path: str | Path | None,
    row_groups: Sequence[int] | None,
) -> Iterator[pa.RecordBatch]:
    """Yields the contract's columns; what Arrow does not know yet is left to DuckDB."""
    given = False
    try:
        file = pq.ParquetFile(stream)
        wanted = _wanted(file.schema_arrow, table, settings, name)
        groups = list(range(file.num_row_groups)) if row_groups is None else list(row_groups)
        for batch in file.iter_batches(settings.batch_rows, groups, wanted):
            given = True
            yield batch
    except (pa.ArrowException, OSError) as error:
        if not newer_parquet.is_newer(error):
            raise
        if given or path is None or row_groups is not None:
            raise DataError(f"{name}: {newer_parquet.MEND}") from error
        wanted = _wanted(newer_parquet.schema(path), table, settings, name)
        yield from newer_parquet.batches(path, wanted, settings.batch_rows)


def _wanted(schema: pa.Schema, table: Table, settings: ReadSettings, name: str) -> list[str]:
    _refuse(parquet_problems(schema, table, name, settings.wanted))
    columns = columns_of(table, settings.wanted)
    return [column.name for column in columns if column.name in schema.names]


def _read_csv(
    stream: BinaryIO, table: Table, settings: ReadSettings, name: str, lines: Counter[str]
) -> Iterator[Checked]:
    escape = settings.csv_escape is not None
    names, line = csv_header(stream, name)
    _refuse(csv_problems(names, line, table, name, settings.wanted))
    first_id = next(column.name for column in columns_of(table) if column.kind == "id")
    before = 0
    for block in blocks(decompressed(stream, name), name, settings.block_bytes, escape):
        lines[table] += block.lines
        ragged: list[pacsv.InvalidRow] = []
        rows = _parsed(block.data, names, table, settings, ragged, has_header=not before)
        ids = rows[first_id].slice(0, 500).to_pylist() if len(block.fields) else []
        refuse_swallowed_rows(block, names, ids, table, name)
        raw = dict(zip(rows.column_names, (as_binary(c) for c in rows.columns), strict=True))
        checked = check_rows(raw, rows.num_rows, table, settings, sentinel=block.replaced)
        records = rows.num_rows + len(ragged) + (not before)
        skipped = np.array([before + row.number for row in ragged], np.int64)
        numbers = np.setdiff1d(np.arange(before + 1 + (not before), before + records + 1), skipped)
        letters = [_ragged(name, before, row, settings) for row in ragged]
        letters += _letters(name, numbers[checked.bad], checked.reasons, checked.texts)
        before += records
        yield checked.batch, letters


def _parsed(
    data: bytes,
    names: list[str],
    table: Table,
    settings: ReadSettings,
    ragged: list[pacsv.InvalidRow],
    has_header: bool,
) -> pa.Table:
    """Parses whole records at once; rows of another width go to `ragged`.

    `open_csv` reads ahead in a thread that outlives its reader, and aborts the process or
    waits for the interpreter forever when either ends; `read_csv` of a buffer has none.
    """
    columns = columns_of(table, settings.wanted)
    wanted = [column.name for column in columns if column.name in names]

    def keep(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    if not has_header and _NO_RECORD.match(data):
        return pa.table({name: pa.array([], pa.binary()) for name in wanted})
    return pacsv.read_csv(
        pa.BufferReader(data),
        # One thread: only then are the numbers of bad rows known.
        read_options=pacsv.ReadOptions(
            use_threads=False,
            block_size=len(data) + 1,
            column_names=None if has_header else names,
        ),
        parse_options=pacsv.ParseOptions(
            newlines_in_values=True,
            escape_char=settings.csv_escape or False,
            invalid_row_handler=keep,
        ),
        convert_options=pacsv.ConvertOptions(
            check_utf8=False,
            include_columns=wanted,
            column_types={column: pa.binary() for column in wanted},
            strings_can_be_null=False,
            quoted_strings_can_be_null=False,
        ),
    )


def _ragged(name: str, before: int, row: pacsv.InvalidRow, settings: ReadSettings) -> DeadLetter:
    spark = settings.csv_escape is None and '\\"' in row.text
    reason = f"{WRONG_WIDTH}{SPARK_ESCAPE}" if spark else WRONG_WIDTH
    return DeadLetter(name, before + row.number, reason, short_text(row.text))


def _letters(
    name: str, numbers: np.ndarray, reasons: list[str], texts: list[str]
) -> list[DeadLetter]:
    rows = zip(numbers.tolist(), reasons, texts, strict=True)
    return [DeadLetter(name, number, reason, text) for number, reason, text in rows]
