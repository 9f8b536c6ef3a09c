"""Delimited text by blocks of lines: Arrow where nothing is quoted, `csv` where something is."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from core.errors import DataError
from input_tables.importers.swallowed import swallowed
from input_tables.importers.table.header import Layout, WantedColumns, layout_of, position_of
from input_tables.importers.table.portion import Portion, portion_of
from input_tables.importers.table.tally import Tally

_LINES = 65_536
_ESCAPED = "if it writes quotes as \\\", give --escape '\\'"


def delimited(
    text: io.TextIOWrapper, path: str, wanted: WantedColumns, tally: Tally
) -> Iterator[Portion]:
    """Yields the records of a file; those of another width or no CSV are refused.

    Raises:
      DataError: a column is missing, or a quote hides rows; with the line.
    """
    layout, before = layout_of(text, path, wanted)
    tally.understood(path, layout.shown())
    blocks = _Blocks(layout, path, wanted, tally)
    lines = chain(before, text)
    start = 1 + (_skip_header(lines, layout) if layout.header else 0)
    try:
        while block := list(islice(lines, _LINES)):
            portion = blocks.plain(block, start)
            consumed = len(block)
            if portion is None:
                portion, consumed = blocks.quoted(block, lines, start)
            start += consumed
            if len(portion.places):
                yield portion
    finally:
        tally.lines += start - 1


def _skip_header(lines: Iterator[str], layout: Layout) -> int:
    reader = layout.reader(lines)
    while not next(reader, ["end"]):
        pass
    return int(reader.line_num)


class _Blocks:
    """Parses the blocks of one file."""

    def __init__(self, layout: Layout, path: str, wanted: WantedColumns, tally: Tally) -> None:
        self._layout, self._path, self._wanted, self._tally = layout, path, wanted, tally
        names = layout.names
        self._at = [position_of(names, column, path) for column in wanted.columns]
        self._key = position_of(names, wanted.id_column, path)
        self._names = [f"{n}" for n in range(len(names))]
        self._chosen = [self._names[n] for n in dict.fromkeys(self._at)]

    def plain(self, block: Sequence[str], start: int) -> Portion | None:
        """Returns a block whose every line is a whole row, or None: `csv` must tell why."""
        joined = "".join(block)
        letters = '"\0' if self._layout.quoted else "\0"
        if any(letter in joined for letter in letters + (self._layout.escape or "")):
            return None
        try:
            data = joined.encode()
            table = pacsv.read_csv(
                pa.BufferReader(data),
                read_options=pacsv.ReadOptions(
                    use_threads=False, block_size=len(data) + 1, column_names=self._names
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter=self._layout.separator, quote_char=False
                ),
                convert_options=pacsv.ConvertOptions(
                    include_columns=self._chosen,
                    column_types={name: pa.string() for name in self._chosen},
                    strings_can_be_null=False,
                ),
            )
        except (pa.ArrowInvalid, UnicodeEncodeError):
            return None
        if table.num_rows != len(block):
            return None
        self._tally.read += len(block)
        columns = {
            name: table[f"{n}"].combine_chunks()
            for name, n in zip(self._wanted.columns, self._at, strict=True)
        }
        return Portion(columns, np.arange(start, start + len(block)))

    def quoted(self, block: Sequence[str], more: Iterator[str], start: int) -> tuple[Portion, int]:
        """Returns a block's records and how many lines they were; the last may need `more`."""
        reader = self._layout.reader(chain(block, more))
        rows: list[list[str]] = []
        places: list[int] = []
        while reader.line_num < len(block):
            line = start + reader.line_num
            try:
                row = next(reader)
            except csv.Error as error:
                self._no_csv(line, start + reader.line_num - line, error)
                continue
            spans = start + reader.line_num - line
            if not row:
                continue
            self._tally.read += 1
            if spans > 1 and (found := swallowed(row, self._layout.separator, self._key)):
                _hidden(self._path, line, f"the row {found!r}")
            if len(row) != len(self._names):
                why = f"has {len(row)} fields, not {len(self._names)}"
                self._tally.refuse(self._path, line, why, self._layout.separator.join(row))
                continue
            rows.append([row[n] for n in self._at])
            places.append(line)
        portion = portion_of(rows, places, self._wanted, self._path, self._tally)
        return portion, int(reader.line_num)

    def _no_csv(self, line: int, spans: int, error: csv.Error) -> None:
        if spans > 1:
            _hidden(self._path, line, f"{spans - 1} lines ({error})")
        hint = f"; {_ESCAPED}" if "expected after" in str(error) else ""
        self._tally.read += 1
        self._tally.refuse(self._path, line, f"is no CSV ({error}){hint}", "")


def _hidden(path: str, line: int, what: str) -> NoReturn:
    raise DataError(
        f"{path}:{line}: a quote is opened here and hides {what}; close it, or give "
        "--no-quotes when quotes are letters of this file"
    )
