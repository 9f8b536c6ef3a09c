"""Opens files and turns whatever goes wrong into one clear `DataError`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from core.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_FAULTS = (
    pa.ArrowException,
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    MemoryError,
    RuntimeError,
)


@contextmanager
def clear_errors(name: str, doing: str) -> Iterator[None]:
    """Re-raises any fault of reading a file as `DataError` with the file's name.

    Args:
      name: what the message calls the file.
      doing: what failed, for example `read as Parquet`.
    """
    try:
        yield
    except DataError:
        raise
    except _FAULTS as error:
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{name}: cannot be {doing}: {_first_sentence(detail)}") from error


def _first_sentence(text: str, limit: int = 300) -> str:
    line = text.strip().splitlines()[0] if text.strip() else "no details"
    return line if len(line) <= limit else line[: limit - 3] + "..."


@contextmanager
def opened(source: str | Path | BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Yields a binary stream at its beginning; only streams opened here are closed."""
    if isinstance(source, (str, Path)):
        with clear_errors(name, "opened"):
            stream = open(source, "rb")  # noqa: SIM115 - closed below, outside clear_errors
        with stream:
            yield stream
    else:
        with clear_errors(name, "read from its beginning (the stream must be able to seek)"):
            source.seek(0)
        yield source


def decompressed(stream: BinaryIO) -> BinaryIO:
    """Returns `stream`, or a stream of its content when it is gzip (told by content)."""
    magic = stream.read(len(_GZIP_MAGIC))
    stream.seek(0)
    if magic != _GZIP_MAGIC:
        return stream
    plain = pa.PythonFile(_Unclosed(stream), mode="r")
    compressed: BinaryIO = pa.CompressedInputStream(plain, "gzip")
    return compressed


class _Unclosed:
    """Passes reads on; Arrow closes what it is given, the caller's stream must stay open."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)

    def close(self) -> None:
        return None


def is_parquet(name: str) -> bool:
    """Returns whether a file of this name is read as Parquet."""
    return name.lower().endswith(".parquet")
