"""Tables in an object store, listed and checked without a download of any of them.

`input_tables.remote` copies tables for those who read them in one process; a run whose
workers are elsewhere lists them here, and the workers read them.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from core.errors import DataError
from core.storage import is_remote
from input_tables.catalogue import find_items
from input_tables.config import DataConfig
from input_tables.contract import Table
from input_tables.headers import csv_header, csv_problems, parquet_problems, unused
from input_tables.layout import (
    TableFile,
    TableSet,
    check_headers,
    find_tables,
    settle_headers,
)
from input_tables.remote import outlined
from input_tables.remote_reading import copy_footer, opened_stream
from input_tables.sources import clear_errors, is_parquet
from input_tables.verify import damaged_parquet

_HEAD_BYTES = 1 << 20
_PARALLEL = 8


class RowGroup(NamedTuple):
    """Attributes: `rows` of a row group of Parquet, and its `bytes` in the file."""

    rows: int
    bytes: int


#: Row groups by URL of the file; CSV files are left out.
RowGroups = dict[str, tuple[RowGroup, ...]]


def listed_tables(
    config: DataConfig, items_only: bool = False, wanted: Sequence[str] = ()
) -> TableSet:
    """Finds the files of the window under a URL as `input_tables.layout.find_tables` does.

    Args:
      config: its `root` is a URL.
      items_only: the items table is all that is needed.
      wanted: see `input_tables.layout.find_tables`.

    Returns:
      Files whose `path` is a URL, with their size and the store's mark of their content.

    Raises:
      DataError: as `find_tables` or `find_items`, or the store cannot be read.
    """
    with outlined(config, items_only, wanted) as outline:
        root = Path(outline.copy.root)
        files = []
        for file in outline.found.files:
            size, mark = outline.entries[Path(file.path).relative_to(root).as_posix()]
            files.append(file._replace(path=file.original, original="", bytes=size or 0, mark=mark))
        return outline.found._replace(files=tuple(files))


def checked_tables(
    config: DataConfig, items_only: bool = False, attributes: Sequence[str] = ()
) -> TableSet:
    """Finds the files of the window, in a folder or under a URL, and checks their headers.

    Args:
      config: where they are.
      items_only: the items table is all that is needed.
      attributes: see `ReadSettings.attributes`; those columns must be there.

    Returns:
      The files; what is odd about the names of files and columns is in `warnings`.

    Raises:
      DataError: see `listed_tables` and `check_remote_headers`.
    """
    if is_remote(config.root):
        tables = listed_tables(config, items_only, attributes)
        return _warned(tables, check_remote_headers(tables, attributes)[1])
    tables = find_items(config) if items_only else find_tables(config, attributes)
    return _warned(tables, check_headers(tables, attributes))


def _warned(tables: TableSet, warnings: list[str]) -> TableSet:
    return tables._replace(warnings=(*tables.warnings, *warnings))


def marks_fingerprint(tables: TableSet) -> str:
    """Returns a hex digest of what the store says of the contents; nothing is downloaded.

    Names, order and times of files do not matter where the store keeps digests (S3, GCS).
    It is another one than that of the same tables in a folder, and an upload in parts of
    another size changes it.
    """
    parts = sorted(f"{f.table}/{f.span or ''}/{f.bytes}/{f.mark}" for f in tables.files)
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def check_remote_headers(
    tables: TableSet, attributes: Sequence[str] = ()
) -> tuple[RowGroups, list[str]]:
    """Checks headers and column types of all files, from their heads and footers alone.

    Args:
      tables: the files.
      attributes: see `ReadSettings.attributes`; those columns must be there.

    Returns:
      The row groups of the Parquet files, and warnings as of `check_headers`.

    Raises:
      DataError: one message that lists every problem as `url:line: text`.
    """
    groups: RowGroups = {}
    problems: list[str] = []
    ignored: dict[Table, set[str]] = {}
    with tempfile.TemporaryDirectory(prefix="tessera-footers-") as folder:
        places = {file.path: Path(folder) / f"{n}.parquet" for n, file in enumerate(tables.files)}
        damaged = _damaged_footers(tables, places)
        with ThreadPoolExecutor(_PARALLEL) as pool:
            look = partial(_head, places=places, damaged=damaged, attributes=attributes)
            for file, found in zip(tables.files, pool.map(look, tables.files), strict=True):
                problems += found.problems
                ignored.setdefault(file.table, set()).update(found.unused)
                if found.groups is not None:
                    groups[file.path] = found.groups
    return groups, settle_headers(problems, ignored)


class _Head(NamedTuple):
    problems: list[str]
    unused: list[str]
    groups: tuple[RowGroup, ...] | None


def _damaged_footers(tables: TableSet, places: dict[str, Path]) -> dict[str, str]:
    files = [file for file in tables.files if is_parquet(file.path)]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        for done in [pool.submit(copy_footer, file, places[file.path]) for file in files]:
            done.result()
    found = damaged_parquet([(file.table, str(places[file.path])) for file in files], [])
    return {f.path: found[str(places[f.path])] for f in files if str(places[f.path]) in found}


def _head(
    file: TableFile, places: dict[str, Path], damaged: dict[str, str], attributes: Sequence[str]
) -> _Head:
    name = file.name
    if file.path in damaged:
        return _Head([f"{name}: cannot be read as Parquet: {damaged[file.path]}"], [], None)
    try:
        if is_parquet(file.path):
            with clear_errors(name, "read as Parquet"):
                footer = pq.ParquetFile(places[file.path])
                schema, metadata = footer.schema_arrow, footer.metadata
            problems = parquet_problems(schema, file.table, name, attributes)
            others = unused(schema.names, file.table, attributes)
            return _Head(problems, others, tuple(_row_groups(metadata)))
        with opened_stream(file, _HEAD_BYTES) as stream, clear_errors(name, "read as CSV"):
            names, line = csv_header(stream, name)
        problems = csv_problems(names, line, file.table, name, attributes)
        return _Head(problems, unused(names, file.table, attributes), None)
    except DataError as error:
        return _Head([str(error)], [], None)


def _row_groups(metadata: pq.FileMetaData) -> Iterator[RowGroup]:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        sizes = (group.column(n).total_compressed_size for n in range(group.num_columns))
        yield RowGroup(group.num_rows, sum(sizes))
