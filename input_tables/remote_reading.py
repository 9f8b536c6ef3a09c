"""Reads tables in an object store where they lie, a piece at a time, on any machine.

CSV is a stream of requests for a few megabytes each. Of a Parquet file the row groups that
are asked for, and of these the columns that the contract knows, are laid into a local file
that is hollow elsewhere: Arrow may crash on damaged files, so a child process meets them first.
A file that changes while it is read is an error, never a mixture.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow.parquet as pq

from core.errors import DataError
from core.storage import ObjectStore, is_remote
from input_tables.contract import columns_of
from input_tables.layout import TableFile
from input_tables.sources import clear_errors, is_parquet
from input_tables.verify import damaged_parquet

#: Bytes of one request.
BLOCK_BYTES = 8 << 20
_FOOTER_BYTES = 64 << 10
#: Length of the metadata and the magic word, at the end of every Parquet file.
_TAIL_BYTES = 8


class _Stream(io.RawIOBase):
    """An object as a file that can seek."""

    def __init__(self, store: ObjectStore, name: str, file: TableFile) -> None:
        self._store = store
        self._object = name
        self._file = file
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._file.bytes}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        end = min(self._place + len(buffer), self._file.bytes)
        content = self._store.read_range(self._object, self._place, end)
        if len(content) != max(0, end - self._place):
            raise _changed(self._file)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)


@contextmanager
def opened_table(
    file: TableFile, row_groups: Sequence[int] | None = None, attributes: Sequence[str] = ()
) -> Iterator[Path | BinaryIO]:
    """Yields what `input_tables.reading.read_table` can read.

    Args:
      file: its path may be a URL.
      row_groups: of a Parquet file, those that will be read; None: all.
      attributes: see `ReadSettings.attributes`.

    Raises:
      DataError: the file cannot be read, is damaged, or is not what was listed.
    """
    if not is_remote(file.path):
        yield Path(file.path)
    elif is_parquet(file.path):
        with tempfile.TemporaryDirectory(prefix="tessera-rows-") as folder:
            target = Path(folder) / "part.parquet"
            with unchanged(file):
                copy_row_groups(file, target, row_groups, attributes)
            damaged = damaged_parquet([(file.table, str(target))], row_groups)
            for problem in damaged.values():
                raise DataError(f"{file.name}: cannot be read as Parquet: {problem}")
            yield target
    else:
        with unchanged(file), opened_stream(file) as stream:
            yield stream


@contextmanager
def opened_stream(file: TableFile, block_bytes: int = BLOCK_BYTES) -> Iterator[BinaryIO]:
    """Yields a file under a URL as a binary stream that can seek."""
    store, name = ObjectStore.beside(file.path)
    with io.BufferedReader(_Stream(store, name, file), block_bytes) as stream:
        yield stream


@contextmanager
def unchanged(file: TableFile) -> Iterator[None]:
    """Raises DataError where an object is not what was listed, before the block or after it."""
    _require_listed(file)
    yield
    _require_listed(file)


def _require_listed(file: TableFile) -> None:
    store, name = ObjectStore.beside(file.path)
    if tuple(store.entry(name)) != (file.bytes, file.mark):
        raise _changed(file)


def _changed(file: TableFile) -> DataError:
    return DataError(
        f"{file.name}: is not what it was when the tables were listed; it is being written: "
        "try again when it is complete"
    )


def copy_row_groups(
    file: TableFile,
    target: Path,
    row_groups: Sequence[int] | None,
    attributes: Sequence[str] = (),
) -> None:
    """Makes a local file of an object's size with its metadata and some of its rows.

    Args:
      file: a Parquet file under a URL.
      target: the file to make.
      row_groups: whose columns of the contract are copied; None: all; []: none.
      attributes: see `ReadSettings.attributes`; copied as well.
    """
    store, name = ObjectStore.beside(file.path)
    copy_footer(file, target)
    if row_groups is not None and not row_groups:
        return
    with clear_errors(file.name, "read as Parquet"):
        metadata = pq.ParquetFile(target).metadata
        wanted = {column.name for column in columns_of(file.table, attributes)}
        groups = range(metadata.num_row_groups) if row_groups is None else row_groups
        chunks = [
            metadata.row_group(group).column(column)
            for group in groups
            for column in range(metadata.num_columns)
        ]
        spans = [
            _span(chunk) for chunk in chunks if chunk.path_in_schema.partition(".")[0] in wanted
        ]
    with open(target, "r+b") as sink:
        for start, end in _joined(spans):
            for place in range(start, min(end, file.bytes), BLOCK_BYTES):
                sink.seek(place)
                sink.write(store.read_range(name, place, min(place + BLOCK_BYTES, end, file.bytes)))


def _span(chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        start = min(start, chunk.dictionary_page_offset)
    return max(0, start), max(0, start) + chunk.total_compressed_size


def _joined(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yields spans in order, those that touch as one."""
    held: tuple[int, int] | None = None
    for start, end in sorted(spans):
        if held is not None and start <= held[1]:
            held = held[0], max(held[1], end)
            continue
        if held is not None:
            yield held
        held = start, end
    if held is not None:
        yield held


def copy_footer(file: TableFile, target: Path) -> None:
    """Makes a hollow local file of an object's size with its Parquet metadata alone."""
    store, name = ObjectStore.beside(file.path)
    start = max(0, file.bytes - _FOOTER_BYTES)
    tail = store.read_range(name, start, file.bytes)
    length = int.from_bytes(tail[-_TAIL_BYTES:-4], "little") + _TAIL_BYTES
    if len(tail) < length <= file.bytes:
        start = file.bytes - length
        tail = store.read_range(name, start, file.bytes)
    with open(target, "wb") as sink:
        sink.truncate(file.bytes)
        sink.seek(start)
        sink.write(tail)
