"""Tells a text with line breaks from a stray quote that swallows the rows below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.errors import DataError
from input_tables.blocks import Block
from input_tables.contract import COLUMNS, Table

_DIGIT = re.compile(rb"[0-9]")
_BLANK = re.compile(rb"\s")
_LETTER = re.compile(rb"[^\W0-9_]")
_WHOLE = re.compile(rb"\s*[+-]?[0-9]+(\.0*)?\s*")
#: Ids looked at to learn what ids look like.
_SAMPLE = 500
#: Bytes behind a quote that are looked at: an id is rarely longer.
_ID_BYTES = 256


class _Look(NamedTuple):
    """What the ids of a table have in common."""

    shortest: int
    longest: int
    digits: bool
    letters: bool
    blanks: bool


def refuse_swallowed_rows(
    block: Block, names: Sequence[str], ids: Sequence[bytes], table: Table, file: str
) -> None:
    """Looks at quoted fields with line breaks: is a line of one a row of this table?

    Such a line has the right number of separators, an id that looks like the others, and a
    whole number where the table has a time.

    Args:
      block: records of the file.
      names: the columns of the file.
      ids: some ids of the block's own rows, from the first id column.
      table: which table it is.
      file: what messages call the file.

    Raises:
      DataError: names the line where the quote opened and what it hides.
    """
    if not len(block.fields):
        return
    rows = _Rows(names, _look(ids), table)
    for first, last in block.fields.tolist():
        text, after = block.data[first + 1 : last], block.data[last + 1 : last + 2]
        _, *lines = text.split(b"\n")
        hidden = sum(rows.is_row(line) for line in lines[:-1])
        # The quote that ends the field may be one that opens a field of the next row.
        opens = after not in b",\r\n" and (not lines[-1] or lines[-1].endswith(b","))
        begin = lines[-1] + block.data[last + 1 : last + 1 + _ID_BYTES] if opens else b""
        hidden += rows.is_row(lines[-1]) or (opens and rows.may_begin(_unquoted(begin)))
        if hidden:
            opened = block.line + block.data.count(b"\n", 0, first)
            raise DataError(
                f'{file}:{opened}: a quote (") opens here and swallows rows: up to line '
                f"{opened + len(lines)} there are {hidden} line(s) inside it that look like rows "
                f'of {table}. Close it, write a quote inside a text twice (""), or remove it'
            )


def _unquoted(begin: bytes) -> bytes:
    """Returns the beginning of a row up to the end of its line, without quotes."""
    return begin.split(b"\n")[0].replace(b'"', b"")


def _look(ids: Sequence[bytes]) -> _Look | None:
    known = [value for value in ids[:_SAMPLE] if value]
    if not known:
        return None
    lengths = np.array([len(value) for value in known])
    return _Look(
        shortest=int(lengths.min()) // 2,
        longest=2 * int(lengths.max()),
        digits=all(_DIGIT.search(value) for value in known),
        letters=any(_LETTER.search(value) for value in known),
        blanks=any(_BLANK.search(value) for value in known),
    )


class _Rows:
    def __init__(self, names: Sequence[str], look: _Look | None, table: Table) -> None:
        kinds = {column.name: column.kind for column in COLUMNS[table] if column.required}
        self._separators = len(names) - 1
        self._look = look
        self._id = next((n for n, name in enumerate(names) if kinds.get(name) == "id"), 0)
        self._times = [n for n, name in enumerate(names) if kinds.get(name) == "time"]

    def is_row(self, line: bytes) -> bool:
        """Whether a line of a text could be a whole row."""
        return line.count(b",") == self._separators and self.may_begin(line)

    def may_begin(self, line: bytes) -> bool:
        """Whether a line of a text could be the beginning of a row."""
        values = line.rstrip(b"\r").split(b",")
        if len(values) <= self._id:
            return False
        times = [values[n] for n in self._times if n < len(values) - 1]
        return all(map(_WHOLE.fullmatch, times)) and self._like_an_id(values[self._id])

    def _like_an_id(self, value: bytes) -> bool:
        if not value:
            return False
        if (look := self._look) is None:
            return True
        return (
            look.shortest <= len(value) <= look.longest
            and (not look.digits or _DIGIT.search(value) is not None)
            and (look.letters or _LETTER.search(value) is None)
            and (look.blanks or _BLANK.search(value) is None)
        )
