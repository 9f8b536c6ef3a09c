"""Delimited text through parsers; what is malformed is named by file and line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from core.errors import DataError
from input_tables.importers.content import clear
from input_tables.importers.source import Source
from input_tables.importers.swallowed import swallowed

#: Longest quoted value; a longer one is a quote that is not closed.
_BLOCK_BYTES = 4 << 20
_SHOWN = 80


def read_columns(
    source: Source,
    name: str,
    columns: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    delimiter: str = ",",
) -> pa.Table:
    """Reads columns of a delimited file as strings.

    Values may be quoted where the delimiter is a comma. Blanks around the names of
    a header and their case do not matter.

    Args:
      source: where the file is.
      name: the file.
      columns: those wanted, by header or by `names`.
      names: column names of a file without a header.
      delimiter: one character, or `::` for values without a colon.

    Raises:
      DataError: a column is missing, a row has another number of fields, is blank
        or not UTF-8, or a quote swallows rows; with the line.
    """
    where, quoted = source.where(name), delimiter == ","
    there = list(names) if names else header(source, name, delimiter)
    fields = _positions(there, columns, where)
    inner = [f"_{n}" for n in range(len(there))]
    if delimiter == "::":
        inner = [n for column in inner for n in (column, f"{column}_")][:-1]
    odd: list[str] = []
    try:
        with source.open(name) as stream, clear(where, "read as delimited text"):
            table = pacsv.read_csv(
                stream,
                read_options=pacsv.ReadOptions(
                    column_names=inner, skip_rows=0 if names else 1, block_size=_BLOCK_BYTES
                ),
                parse_options=_syntax(delimiter, len(there) == 1, odd),
                convert_options=pacsv.ConvertOptions(
                    # All of them where a quote may have swallowed rows in any.
                    include_columns=inner if quoted else [f"_{n}" for n in fields],
                    column_types={column: pa.string() for column in inner},
                    strings_can_be_null=False,
                ),
            )
    except DataError:
        _explain(source, name, len(there), delimiter)
        raise
    table, blank = _without_blanks(table)
    if odd or blank or (quoted and _holds_newlines(table)):
        _explain(source, name, len(there), delimiter)
        if short := [text for text in odd if text.strip()]:
            raise DataError(
                f"{where}: {len(short)} rows do not have {len(there)} fields: {short[0]!r}"
            )
    return table.select([f"_{n}" for n in fields]).rename_columns(list(columns))


def _syntax(delimiter: str, ignore_empty_lines: bool, odd: list[str]) -> pacsv.ParseOptions:
    """Returns how rows are told apart; `odd` gets those with another number of fields."""
    quoted = delimiter == ","

    def keep(row: Any) -> str:
        odd.append(row.text[:_SHOWN])
        return "skip"

    return pacsv.ParseOptions(
        delimiter=delimiter[0],
        quote_char='"' if quoted else False,
        newlines_in_values=quoted,
        ignore_empty_lines=ignore_empty_lines,
        invalid_row_handler=keep,
    )


def header(source: Source, name: str, delimiter: str = ",") -> list[str]:
    """Returns the column names of a delimited file as a parser reads them.

    Raises:
      DataError: the file is empty or its first line cannot be read.
    """
    where = source.where(name)
    with source.open(name) as stream, clear(where, "read as delimited text"):
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        rows = (
            csv.reader(text) if delimiter == "," else (t.split(delimiter) for _, t in lines(text))
        )
        names = next(rows, [])
    if not names:
        raise DataError(f"{where}:1: the file has no header")
    return names


def _positions(there: Sequence[str], columns: Sequence[str], where: str) -> list[int]:
    plain = [name.strip().lower() for name in there]
    positions = []
    for column in columns:
        if plain.count(column.lower()) != 1:
            number = "no" if column.lower() not in plain else "more than one"
            raise DataError(f"{where}: has {number} column {column!r} (its columns: {there})")
        positions.append(plain.index(column.lower()))
    return positions


def _without_blanks(table: pa.Table) -> tuple[pa.Table, bool]:
    """Returns the table without rows of empty values, and whether there were any."""
    filled = pc.not_equal(table.column(0), "")
    for column in table.columns[1:]:
        filled = pc.or_(filled, pc.not_equal(column, ""))
    if pc.all(filled).as_py() is not False:
        return table, False
    return table.filter(filled), True


def _holds_newlines(table: pa.Table) -> bool:
    return any(
        pc.any(pc.match_substring_regex(column, "[\r\n]")).as_py() for column in table.columns
    )


def _explain(source: Source, name: str, width: int, delimiter: str) -> None:
    """Raises DataError with the first line that is wrong; returns when all are well."""
    where = source.where(name)
    with source.open(name) as stream, clear(where, "read as delimited text"):
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
        if delimiter == ",":
            rows = _csv_rows(text, where)
        else:
            rows = ((n, line.split(delimiter)) for n, line in lines(text))
        blank: int | None = None
        for line, row in rows:
            joined = delimiter.join(row)
            if not any(value.strip() for value in row):
                blank = blank or line
            elif blank is not None:
                _refuse(where, blank, "is blank")
            elif len(row) != width:
                _refuse(where, line, f"has {len(row)} of {width} fields", joined)
            elif any("\udc80" <= letter <= "\udcff" for letter in joined):
                shown = joined.encode("utf-8", "replace").decode()
                _refuse(where, line, "is not UTF-8", shown)
            elif (found := swallowed(row, delimiter)) is not None:
                _refuse(where, line, f"opens a quote that hides the rows after it: {found!r}")


def _csv_rows(text: io.TextIOWrapper, where: str) -> Iterator[tuple[int, list[str]]]:
    reader, line = csv.reader(text, strict=True), 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            _refuse(where, line, f"is not CSV ({error}); most likely a quote is not closed")
        if row is None:
            return
        yield line, row
        line = reader.line_num + 1


def _refuse(where: str, line: int, why: str, shown: str = "") -> NoReturn:
    told = f": {shown[:_SHOWN]!r}" if shown else ""
    raise DataError(f"{where}:{line}: {why}{told}")


def lines(stream: io.TextIOBase) -> Iterator[tuple[int, str]]:
    """Yields (number, line) of text that ends its lines with LF or CRLF and nothing else.

    U+2028, U+0085, VT and FF are letters of the line; a last line may be unfinished.
    """
    before = ""
    number = 0
    for piece in stream:
        before += piece
        if before.endswith("\n"):
            number += 1
            yield number, before.rstrip("\r\n")
            before = ""
    if before:
        yield number + 1, before


def split_lines(
    source: Source, name: str, separator: str, fields: int, free: int | None = None
) -> list[list[str]]:
    """Returns the fields of every line of a small file without quoting, UTF-8 or Latin-1.

    Blank lines at the end do not count.

    Args:
      source: where the file is.
      name: the file.
      separator: between fields.
      fields: how many there are.
      free: the field that may hold the separator once, if one may.

    Raises:
      DataError: a line is blank or has another number of fields, with its number.
    """
    text = source.text(name).rstrip("\r\n")
    rows = []
    for number, line in lines(io.StringIO(text, newline="\n")):
        row = line.split(separator)
        if not line.strip():
            _refuse(source.where(name), number, "is blank")
        if "\r" in line:
            _refuse(source.where(name), number, "holds a carriage return within the line", line)
        if free is not None and len(row) == fields + 1:
            row[free : free + 2] = [separator.join(row[free : free + 2])]
        if len(row) != fields:
            why = f"has {len(row)} of {fields} fields (separated by {separator!r})"
            _refuse(source.where(name), number, why, line)
        rows.append(row)
    return rows
