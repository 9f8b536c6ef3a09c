"""Keeps invalid UTF-8 from stopping the CSV parser, yet lets it be found again."""

from __future__ import annotations

import codecs
import sys
from typing import BinaryIO

#: Stands for each invalid byte: two Unicode noncharacters, which texts never hold.
SENTINEL = "\ufdd0\ufdd1"
_ERRORS = "tessera-sentinel"
#: The attribute, and the argument of `getrefcount`.
_REFERENCES_AT_REST = 2


def _to_sentinel(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return SENTINEL * (error.end - error.start), error.end


codecs.register_error(_ERRORS, _to_sentinel)


class Utf8Guard:
    """A readable stream that is always valid UTF-8 and ends with a newline.

    Bytes that are not UTF-8 come out as `SENTINEL`, so that a ragged row with a
    bad byte is still reported as a row and not as the end of the parser.

    Attributes:
      replaced: whether any byte has been replaced so far.
      quotes: number of `"` seen so far; odd at the end hints at an unclosed one.
      busy: whether another thread is reading right now.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._tail = b""
        self._ready = b""
        self._last = b"\n"
        self._ended = False
        self.replaced = False
        self.quotes = 0
        self.closed = False
        self.busy = False
        #: What stands for the end; how often it is held tells who still reads.
        self._end = bytearray()
        self._end_given = False
        self._failed = False

    def at_rest(self) -> bool:
        """Returns whether the reader met the end or an error and will not come back."""
        given_back = sys.getrefcount(self._end) <= _REFERENCES_AT_REST
        return self._failed or (self._end_given and given_back)

    def stop(self) -> None:
        """Makes every further read the end of the stream."""
        self._ended = True
        self._ready = b""

    def read(self, size: int = -1) -> bytes | bytearray:
        """Returns `size` bytes (all for -1); fewer only at the end, where Arrow relies on it."""
        self.busy = True
        try:
            while not self._ended and (size < 0 or len(self._ready) < size):
                self._fill(size - len(self._ready) if size > 0 else 1 << 20)
        except BaseException:
            self._failed = True
            raise
        finally:
            self.busy = False
        if size < 0 or len(self._ready) <= size:
            out, self._ready = self._ready, b""
        else:
            out, self._ready = self._ready[:size], self._ready[size:]
        if out or size == 0:
            return out
        self._end_given = True
        return self._end

    def _fill(self, size: int) -> None:
        raw = self._stream.read(size)
        if not raw:
            self._ended = True
        good = self._valid(self._tail + raw, final=not raw)
        if good:
            self._last = good[-1:]
        elif self._ended and self._last not in (b"\n", b"\r"):
            good = b"\n"
        if self._ended and good and self._last not in (b"\n", b"\r"):
            good += b"\n"
            self._last = b"\n"
        self.quotes += good.count(b'"')
        self._ready += good

    def _valid(self, data: bytes, final: bool) -> bytes:
        try:
            _, consumed = codecs.utf_8_decode(data, "strict", final)
            good = data[:consumed]
        except UnicodeDecodeError:
            self.replaced = True
            text, consumed = codecs.utf_8_decode(data, _ERRORS, final)
            good = text.encode()
        self._tail = data[consumed:]
        return good

    def readable(self) -> bool:
        """Returns True: the stream can be read."""
        return True

    def seekable(self) -> bool:
        """Returns False: the stream only goes forward."""
        return False

    def writable(self) -> bool:
        """Returns False: the stream cannot be written."""
        return False

    def close(self) -> None:
        """Marks the stream as closed; the wrapped one stays open."""
        self.closed = True
