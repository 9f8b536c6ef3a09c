"""What the bytes of a file are, whatever its name says."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from core.errors import DataError
from input_tables.sources import clear_errors

#: Endings of archives; a file of such a name must be one.
ARCHIVES = (
    *(".zip", ".rar", ".7z", ".tar", ".tgz", ".tbz2", ".txz"),
    *(".tar.gz", ".tar.bz2", ".tar.xz"),
)
#: Endings of compressed files, which are read as what they hold.
COMPRESSED = (".gz", ".bz2", ".xz")
_HEAD_BYTES = 1024
_MAX_LAYERS = 3
_OPENERS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream, mode="rb"),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_MAGIC = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"PAR1", "a Parquet file"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself (`git lfs pull`)"),
)
_PAGES = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<error")


@contextmanager
def clear(where: str, doing: str) -> Iterator[None]:
    """Does what `clear_errors` does, for the errors of archives and csv as well."""
    with clear_errors(where, doing):
        try:
            yield
        except (tarfile.TarError, lzma.LZMAError, csv.Error) as error:
            raise ValueError(str(error)) from error


def kind_of(head: bytes) -> str | None:
    """Returns what a file that begins like this is; None for what may be text."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive"
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    if begin.startswith(_PAGES):
        return "an HTML or XML page, most likely in place of a download that failed"
    if b"\x00" in head:
        return "not text (it holds zero bytes)"
    return None


def plain(raw: BinaryIO, where: str) -> BinaryIO:
    """Returns a stream of the content, every layer of compression undone (told by content).

    Args:
      raw: at its beginning.
      where: what messages call the file.
    """
    stream: Any = io.BufferedReader(raw, _HEAD_BYTES)  # type: ignore[arg-type]
    with clear(where, "decompressed"):
        for _ in range(_MAX_LAYERS):
            head = stream.peek(_HEAD_BYTES)
            opener = next((o for magic, o in _OPENERS.items() if head.startswith(magic)), None)
            if opener is None:
                break
            stream = io.BufferedReader(opener(stream), 1 << 20)
    result: BinaryIO = stream
    return result


def plain_text(raw: BinaryIO, where: str) -> BinaryIO:
    """Returns what `plain` does; raises DataError with a name for what is not text."""
    stream = plain(raw, where)
    with clear(where, "read"):
        head: bytes = stream.peek(_HEAD_BYTES)  # type: ignore[attr-defined]
    kind = kind_of(head)
    if kind is not None:
        raise DataError(f"{where}: is {kind}; expected text")
    return stream
