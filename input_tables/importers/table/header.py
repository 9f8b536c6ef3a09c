"""How a delimited file is written: its separator, its quotes, the names of its columns."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from core.errors import DataError
from input_tables.importers.content import clear

_SEPARATORS = (",", "\t", ";", "|")
_SHOWN = 120
_MAX_HEADER_LINES = 50


class WantedColumns(NamedTuple):
    """What to read of a file, and how.

    Attributes:
      columns: names as the files have them.
      separator: None: found from the header.
      quotes: whether `"` begins a quoted value; None: not where tabs separate.
      escape: what goes before a quote within a value, where it is not doubled.
      names: of a file without a header.
      encoding: of text.
      id_column: the one that tells a row that a quote has swallowed.
    """

    columns: tuple[str, ...]
    separator: str | None
    quotes: bool | None
    escape: str | None
    names: tuple[str, ...]
    encoding: str
    id_column: str


class Layout(NamedTuple):
    """How one delimited file is written.

    Attributes:
      separator: one character.
      quoted: whether `"` begins a quoted value.
      header: whether the first record names the columns.
      names: of the columns.
      escape: what goes before a quote within a quoted value, where it is not doubled.
    """

    separator: str
    quoted: bool
    header: bool
    names: tuple[str, ...]
    escape: str | None = None

    def reader(self, text: Iterable[str]) -> Any:
        """Returns a `csv.reader` of the file's lines."""
        if not self.quoted:
            return csv.reader(
                text, delimiter=self.separator, quoting=csv.QUOTE_NONE, quotechar=None
            )
        doubled = self.escape is None
        return csv.reader(
            text,
            delimiter=self.separator,
            doublequote=doubled,
            escapechar=self.escape,
            strict=True,
        )

    def shown(self) -> str:
        """Returns the layout in words."""
        separator = {"\t": "tabs", ",": "commas", ";": "semicolons"}.get(
            self.separator, repr(self.separator)
        )
        quotes = "" if self.quoted else ", no quotes"
        return f"text separated by {separator}{quotes}, {'a' if self.header else 'no'} header"


def layout_of(
    text: io.TextIOWrapper,
    path: str,
    wanted: WantedColumns,
) -> tuple[Layout, list[str]]:
    """Returns how a file is written and the lines that were read to tell.

    The separator is the one with which the header (or the number of names of a
    file without one) has all wanted columns.

    Raises:
      DataError: no separator gives them all; with the nearest names.
    """
    before: list[str] = []
    with clear(path, "read"):
        for line in text:
            before.append(line)
            if line.strip() or len(before) >= _MAX_HEADER_LINES:
                break
    if not before or not before[-1].strip():
        raise DataError(f"{path}:1: the file is empty")
    columns, names = wanted.columns, wanted.names
    candidates = [wanted.separator] if wanted.separator else _SEPARATORS
    found = [_layout(before[-1], each, wanted) for each in candidates]
    for layout in found:
        if all(_place(layout.names, column) is not None for column in columns) and (
            not names or _fields(before[-1], layout) == len(names)
        ):
            if names and layout.names == tuple(_split(before[-1], layout)):
                raise DataError(f"{path}:1: the first row is a header; leave out --columns")
            return layout, before
    raise _unlike(found, before[-1], path, columns, names)


def _unlike(
    found: list[Layout], line: str, path: str, columns: Sequence[str], names: tuple[str, ...]
) -> DataError:
    best = max(found, key=lambda layout: _fields(line, layout))
    shown = line.strip()[:_SHOWN]
    if names:
        return DataError(
            f"{path}:1: {len(names)} names of columns, but {_fields(line, best)} fields: {shown!r}"
        )
    missing = next(c for c in columns if _place(best.names, c) is None)
    return DataError(
        f"{path}:1: has no column {missing!r}{near(missing, best.names)} (first line: {shown!r}; "
        "a file without a header needs the names of its columns: --columns)"
    )


def _layout(line: str, separator: str, wanted: WantedColumns) -> Layout:
    quoted = wanted.quotes
    if quoted is None:
        # Tab-separated files hold quotes as letters, unless their very header is quoted.
        begins = not wanted.names and line.lstrip("\ufeff").startswith('"')
        quoted = separator != "\t" or begins
    layout = Layout(separator, quoted, not wanted.names, wanted.names, wanted.escape)
    return layout if wanted.names else layout._replace(names=tuple(_split(line, layout)))


def _split(line: str, layout: Layout) -> list[str]:
    try:
        fields: list[str] = next(layout.reader([line]), [])
    except csv.Error:
        return [line]
    return [field.strip() for field in fields]


def _fields(line: str, layout: Layout) -> int:
    return len(_split(line, layout))


def _place(names: Sequence[str], column: str) -> int | None:
    """Returns where a column is: its very name, else the only one in another case."""
    if names.count(column) == 1:
        return names.index(column)
    plain = [name.strip().lower() for name in names]
    return plain.index(column.lower()) if plain.count(column.strip().lower()) == 1 else None


def position_of(names: Sequence[str], column: str, path: str) -> int:
    """Returns where a column is; raises DataError with the nearest name."""
    found = _place(names, column)
    if found is None:
        number = "more than one" if names.count(column) > 1 else "no"
        raise DataError(f"{path}: has {number} column {column!r}{near(column, names)}")
    return found


def near(name: str, known: Sequence[str]) -> str:
    """Returns a hint at the nearest known name."""
    close = difflib.get_close_matches(name.lower(), [each.lower() for each in known], n=1)
    if close:
        return f"; did you mean {next(each for each in known if each.lower() == close[0])!r}?"
    return f"; it has {', '.join(map(repr, known[:12]))}"
