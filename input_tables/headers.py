"""Checks of headers and column types, before any row is read."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from input_tables import newer_parquet
from input_tables.blocks import valid_utf8
from input_tables.contract import Column, Table, columns_of
from input_tables.near_names import near_columns
from input_tables.sources import clear_errors, decompressed, is_parquet, opened

_HEAD_BYTES = 1 << 20


def header_problems(
    path: str, table: Table, attributes: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Returns (problems as `file:line: text`, names of columns that are not used).

    Args:
      path: of the file.
      table: that it holds.
      attributes: see `ReadSettings.attributes`.
    """
    with opened(path, path) as stream:
        if is_parquet(path):
            with clear_errors(path, "read as Parquet"):
                schema = parquet_schema(stream, path)
            found = parquet_problems(schema, table, path, attributes)
            return found, unused(schema.names, table, attributes)
        with clear_errors(path, "read as CSV"):
            names, line = csv_header(stream, path)
        return csv_problems(names, line, table, path, attributes), unused(names, table, attributes)


def parquet_schema(stream: BinaryIO, path: str) -> pa.Schema:
    """Returns the columns of a Parquet file, also of one that is newer than this Arrow."""
    try:
        return pq.ParquetFile(stream).schema_arrow
    except (pa.ArrowException, OSError) as error:
        if not newer_parquet.is_newer(error):
            raise
        return newer_parquet.schema(path)


def csv_header(stream: BinaryIO, name: str) -> tuple[list[str], int]:
    """Returns (column names, line of the header) and rewinds the stream.

    The names are empty for a file without any text.
    """
    head = decompressed(stream, name).read(_HEAD_BYTES)
    stream.seek(0)
    text = valid_utf8(head)[0].decode("utf-8-sig")
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        before = 1
        for record in reader:
            if record:
                return record, before
            before = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"line {before} is not a CSV header ({error})") from error
    return [], 1


def csv_problems(
    names: list[str], line: int, table: Table, path: str, attributes: Sequence[str] = ()
) -> list[str]:
    """Returns what is wrong with a CSV header."""
    if not names:
        return [f"{path}:1: the file is empty; a table needs at least its header line"]
    problems = _name_problems(names, table, f"{path}:{line}", attributes)
    if problems and len(names) == 1 and any(mark in names[0] for mark in ";\t"):
        problems.append(f"{path}:{line}: the separator must be a comma")
    return problems


def parquet_problems(
    schema: pa.Schema, table: Table, path: str, attributes: Sequence[str] = ()
) -> list[str]:
    """Returns what is wrong with the columns of a Parquet file."""
    where = f"{path}:schema"
    problems = _name_problems(schema.names, table, where, attributes)
    for column in columns_of(table, attributes):
        if schema.names.count(column.name) != 1:
            continue
        found = schema.field(column.name).type
        if not _fits(column, found):
            problems.append(
                f"{where}: column {column.name!r} must be {_WANTED[column.kind]}, found {found}"
            )
    return problems


def unused(names: Iterable[str], table: Table, attributes: Sequence[str] = ()) -> list[str]:
    """Returns the columns that are not part of the contract, in file order."""
    known = {column.name for column in columns_of(table, attributes)}
    return [name for name in names if name not in known]


def _name_problems(
    names: list[str], table: Table, where: str, attributes: Sequence[str] = ()
) -> list[str]:
    found = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    near = near_columns(names, table)
    problems = [
        f"{where}: column {name!r} must be written {wanted!r}; rename it"
        for name, wanted in near.items()
    ]
    problems += [
        f"{where}: required column {column.name!r} is missing (found: {found})"
        for column in columns_of(table, attributes)
        if column.required and column.name not in names and column.name not in near.values()
    ]
    problems += [
        f"{where}: column {name!r} appears {count} times"
        for name, count in Counter(names).items()
        if count > 1
    ]
    return problems


_WANTED = {
    "id": "a string (ids are strings: '007' stays '007')",
    "text": "a string",
    "time": "int64 (seconds since 1970 UTC, or an order index)",
    "topics": "a list of strings",
    "value": "a single value, not a list",
    "values": "a list of single values, or text",
}


def _fits(column: Column, found: pa.DataType) -> bool:
    if pa.types.is_null(found):
        return column.nullable
    if column.kind == "value":
        return not pa.types.is_nested(found)
    if column.kind == "values":
        return not pa.types.is_nested(getattr(found, "value_type", pa.null()))
    if column.kind == "time":
        return bool(pa.types.is_integer(found))
    if column.kind == "topics":
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return is_list and _is_text(found.value_type)
    return _is_text(found)


def _is_text(found: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        found = found.value_type
    return bool(
        pa.types.is_string(found)
        or pa.types.is_large_string(found)
        or pa.types.is_binary(found)
        or pa.types.is_large_binary(found)
    )
