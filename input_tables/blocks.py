"""Cuts CSV files into blocks of whole records, and finds quotes that swallow rows.

A block ends at a newline that no quoted field holds, so that each can be parsed by itself
and in order. Quotes are read as Arrow reads them: one opens a field only at its beginning;
anywhere else in a field that is not quoted it is text (`12" vinyl`).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from core.errors import DataError

#: Stands for each invalid byte: two Unicode noncharacters, which texts never hold.
SENTINEL = "\ufdd0\ufdd1"
_ERRORS = "tessera-sentinel"

_QUOTE, _NEWLINE, _RETURN, _COMMA = b'"\n\r,'
_BOM = codecs.BOM_UTF8
_QUOTED = re.compile(rb'(?:\A|(?<=[,\r\n]))"[^"]*(?:""[^"]*)*("|\Z)')
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_NO_SPANS = np.empty((0, 2), np.int64)


def _to_sentinel(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return SENTINEL * (error.end - error.start), error.end


codecs.register_error(_ERRORS, _to_sentinel)


class Block(NamedTuple):
    """Whole records of a CSV file.

    Attributes:
      data: valid UTF-8 without a byte order mark; ends with a newline.
      line: number of its first line in the file, from 1.
      lines: how many lines it holds.
      fields: int64 `[quoted fields, 2]` first and last byte of those that hold line breaks.
      replaced: whether `SENTINEL` stands for invalid bytes somewhere.
    """

    data: bytes
    line: int
    lines: int
    fields: np.ndarray
    replaced: bool


def blocks(stream: BinaryIO, name: str, block_bytes: int, escape: bool = False) -> Iterator[Block]:
    """Yields the file's records in order, about `block_bytes` at a time.

    Args:
      stream: plain (not compressed) content, at its beginning.
      name: what messages call the file.
      block_bytes: bytes read at a time, and the longest record.
      escape: whether a backslash takes the next character's meaning away.

    Raises:
      DataError: a quote is not closed, or a record is longer than `block_bytes`.
    """
    rest, line = b"", 1
    while True:
        raw = stream.read(block_bytes)
        data = rest + raw
        if line == 1 and not rest:
            data = data.removeprefix(_BOM)
        if not raw and data and data[-1] not in (_NEWLINE, _RETURN):
            data += b"\n"
        spans = quoted_spans(data, escape)
        end = len(data) if not raw else _last_record_end(data, spans)
        if not raw and len(spans) and spans[-1, 1] < 0:
            raise _unclosed(data, spans, name, line)
        if not end and len(data) > block_bytes:
            raise _too_long(data, spans, name, line, block_bytes)
        if end:
            lines = _lines(data[:end])
            good, replaced = valid_utf8(data[:end])
            # The sentinel is longer than the byte it stands for: positions move.
            inside = quoted_spans(good, escape) if replaced else spans[spans[:, 0] < end]
            fields = _with_line_breaks(good, inside)
            yield Block(good, line, lines, fields, replaced)
            line += lines
        rest = data[end:]
        if not raw:
            return


def valid_utf8(data: bytes) -> tuple[bytes, bool]:
    """Returns data with `SENTINEL` for each invalid byte, and whether there was one."""
    try:
        codecs.utf_8_decode(data, "strict", True)
    except UnicodeDecodeError:
        return codecs.utf_8_decode(data, _ERRORS, True)[0].encode(), True
    return data, False


def quoted_spans(data: bytes, escape: bool = False) -> np.ndarray:
    """Returns int64 `[spans, 2]` positions of opening and closing quotes; -1: not closed.

    A doubled quote inside a field ends one span and begins the next, side by side.
    """
    if b'"' not in data:
        return _NO_SPANS
    if escape and b"\\" in data:
        data = _ESCAPED.sub(b"__", data)
    found = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(found == _QUOTE)
    if not len(quotes):
        return _NO_SPANS
    if len(quotes) % 2:
        quotes = np.append(quotes, -1)
    spans = quotes.reshape(-1, 2)
    return spans if _well_formed(found, spans) else _spans_by_grammar(data)


def _well_formed(data: np.ndarray, spans: np.ndarray) -> bool:
    """Whether every opening quote begins a field and every closing quote ends one."""
    opening, closing = spans[:, 0], spans[:, 1]
    closing = closing[closing >= 0]
    before = data[np.maximum(opening - 1, 0)]
    begins = (opening == 0) | np.isin(before, (_COMMA, _NEWLINE, _RETURN, _QUOTE))
    after = data[np.minimum(closing + 1, len(data) - 1)]
    ends = (closing == len(data) - 1) | np.isin(after, (_COMMA, _NEWLINE, _RETURN, _QUOTE))
    return bool(begins.all() and ends.all())


def _spans_by_grammar(data: bytes) -> np.ndarray:
    spans = [
        (match.start(), match.end() - 1 if match.group(1) else -1)
        for match in _QUOTED.finditer(data)
    ]
    return np.array(spans, np.int64).reshape(-1, 2)


def _last_record_end(data: bytes, spans: np.ndarray) -> int:
    """Returns the position after the last newline outside of quotes, 0 when there is none."""
    newline = b"\n" if b"\n" in data else b"\r"
    # A carriage return at the very end may be half of a line break.
    end = len(data) - (newline == b"\r")
    while (place := data.rfind(newline, 0, end)) >= 0:
        before = int(np.searchsorted(spans[:, 0], place)) - 1
        if before < 0 or 0 <= spans[before, 1] < place:
            return place + 1
        end = int(spans[before, 0])
    return 0


def _with_line_breaks(data: bytes, spans: np.ndarray) -> np.ndarray:
    """Returns int64 `[fields, 2]`: joined spans that hold a newline."""
    if not len(spans):
        return _NO_SPANS
    newlines = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
    starts = np.r_[True, spans[1:, 0] != spans[:-1, 1] + 1]
    first = np.flatnonzero(starts)
    last = np.r_[first[1:], len(spans)] - 1
    fields = np.stack([spans[first, 0], spans[last, 1]], axis=1)
    held = np.searchsorted(newlines, fields[:, 1]) - np.searchsorted(newlines, fields[:, 0])
    return fields[held > 0]


def _lines(data: bytes) -> int:
    return data.count(b"\n") or data.count(b"\r")


def _line_at(data: bytes, place: int, line: int) -> int:
    return line + _lines(data[:place])


def _unclosed(data: bytes, spans: np.ndarray, name: str, line: int) -> DataError:
    opened = _field_start(spans)
    at = _line_at(data, opened, line)
    hidden = _lines(data[opened:])
    return DataError(
        f'{name}:{at}: a quote (") opens here and is not closed until the end of the file; it '
        f'hides {hidden} line(s). Close it, write a quote inside a text twice (""), or remove it'
    )


def _too_long(data: bytes, spans: np.ndarray, name: str, line: int, block_bytes: int) -> DataError:
    where, why = f"{name}:{line}", ""
    if len(spans):
        where = f"{name}:{_line_at(data, _field_start(spans), line)}"
        why = '; most likely a quote (") that opens here is not closed'
    return DataError(f"{where}: a row is longer than {block_bytes} bytes{why}")


def _field_start(spans: np.ndarray) -> int:
    """Returns where the last quoted field opened."""
    last = len(spans) - 1
    while last and spans[last, 0] == spans[last - 1, 1] + 1:
        last -= 1
    return int(spans[last, 0])
