"""Opens files and turns whatever goes wrong into one clear `DataError`."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from core.errors import DataError
from input_tables.newer_parquet import MEND, is_newer

_GZIP_MAGIC = b"\x1f\x8b"
_HEAD = 4
_GZIP_BUFFER = 1 << 18
_UTF_16 = "is UTF-16 (or UTF-32), not UTF-8; convert it: iconv -f UTF-16 -t UTF-8 FILE"
#: How files begin that are no CSV, whatever their name says.
_NO_CSV = {
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"PK\x03\x04": "is a zip archive, not CSV; unpack it",
    b"PAR1": "is Parquet, not CSV; name it .parquet",
    b"ORC": "is ORC, not CSV; rewrite it as Parquet",
    b"Obj\x01": "is Avro, not CSV; rewrite it as Parquet",
    b"BZh": "is compressed with bzip2; rewrite it as .csv or .csv.gz",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; rewrite it as .csv or .csv.gz",
}
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
        if isinstance(error, (pa.ArrowException, OSError)) and is_newer(detail):
            detail = MEND
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


def decompressed(stream: BinaryIO, name: str) -> BinaryIO:
    """Returns `stream`, or a stream of its content when it is gzip (told by content).

    Zeros behind the end of gzip, as tapes and some stores pad it, are passed over.

    Raises:
      DataError: the content is of a kind that is certainly no CSV.
    """
    _refuse_by_content(_head(stream), name)
    if not _head(stream).startswith(_GZIP_MAGIC):
        return stream
    plain = cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=stream), _GZIP_BUFFER))
    head = cast(io.BufferedReader, plain).peek(_HEAD)[:_HEAD]
    if head.startswith(_GZIP_MAGIC):
        raise DataError(f"{name}: gzipped twice; run gunzip on it once")
    _refuse_by_content(head, name)
    return plain


def _head(stream: BinaryIO) -> bytes:
    head = stream.read(_HEAD)
    stream.seek(0)
    return head


def _refuse_by_content(head: bytes, name: str) -> None:
    for magic, what in _NO_CSV.items():
        if head.startswith(magic):
            raise DataError(f"{name}: {what}")
    # Text of western letters in UTF-16 has a zero in every other byte.
    if len(head) >= _HEAD and 0 in (head[0], head[1]) and head[:2] != b"\0\0":
        raise DataError(f"{name}: {_UTF_16}")


def is_parquet(name: str) -> bool:
    """Returns whether a file of this name is read as Parquet."""
    return name.lower().endswith(".parquet")
