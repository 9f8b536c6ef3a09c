"""Writes canonical tables: whole folders at once, files row group by row group."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from core.errors import ConfigError, DataError
from core.files import staged_directory
from input_tables.contract import TABLES, TOPIC_SEPARATOR, USERS

FileFormat = Literal["parquet", "csv", "csv.gz"]
FILE_FORMATS: tuple[FileFormat, ...] = ("parquet", "csv", "csv.gz")
#: Entries of a folder that `--force` may replace, besides the tables themselves.
_OWN_ENTRIES = ("truth", "source.json", "generator.json")


class TableWriter:
    """One file of one table, written in portions."""

    def __init__(self, folder: Path, stem: str, file_format: FileFormat) -> None:
        """Opens `<folder>/<stem>.<file_format>` when the first portion comes."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{stem}.{file_format}"
        self._format = file_format
        self._writer: Any = None
        self._sink: Any = None

    def write(self, table: pa.Table) -> None:
        """Appends rows; every portion has the same schema."""
        if self._format != "parquet":
            table = _joined_topics(table)
        if self._writer is None:
            self._open(table.schema)
        self._writer.write_table(table)

    def _open(self, schema: pa.Schema) -> None:
        if self._format == "parquet":
            self._writer = pq.ParquetWriter(self.path, schema, compression="zstd")
            return
        self._sink = pa.OSFile(str(self.path), "wb")
        if self._format == "csv.gz":
            self._sink = pa.CompressedOutputStream(self._sink, "gzip")
        self._writer = pacsv.CSVWriter(self._sink, schema)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for part in (self._writer, self._sink):
            if part is not None:
                part.close()


def _joined_topics(table: pa.Table) -> pa.Table:
    for number, field in enumerate(table.schema):
        if not pa.types.is_list(field.type):
            continue
        column = table.column(number).cast(pa.list_(pa.string()))
        values = pc.list_flatten(column)
        if pc.any(pc.match_substring(values, TOPIC_SEPARATOR)).as_py():
            raise DataError(
                f"a topic holds {TOPIC_SEPARATOR!r}, which separates topics in CSV; write Parquet"
            )
        joined = pc.binary_join(column, TOPIC_SEPARATOR)
        table = table.set_column(number, field.name, joined)
    return table


@contextmanager
def whole_folder(out: str | Path, force: bool = False) -> Iterator[Path]:
    """Yields a staging folder that becomes `out` when the block ends well.

    Raises:
      ConfigError: `out` is a file, or holds something and `force` is not set, or
        holds something that is not a set of tables (never replaced).
    """
    target = Path(out)
    _refuse_target(target, force)
    staged = target.with_name(f".{target.name}.new-{uuid.uuid4().hex[:8]}")
    with staged_directory(staged) as staging:
        yield staging
    if not target.exists():
        os.rename(staged, target)
        return
    old = target.with_name(f".{target.name}.old-{uuid.uuid4().hex[:8]}")
    os.rename(target, old)
    os.rename(staged, target)
    shutil.rmtree(old)


def _refuse_target(target: Path, force: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError(f"--out {target}: is a file, expected a folder")
    entries = sorted(os.listdir(target))
    if not entries:
        return
    if not force:
        raise ConfigError(f"--out {target}: is not empty; give another folder, or --force")
    tables = (*TABLES, USERS)
    expected = {*tables, *_OWN_ENTRIES, *(f"{t}.{f}" for t in tables for f in FILE_FORMATS)}
    strange = [name for name in entries if name not in expected]
    if strange:
        raise ConfigError(
            f"--out {target}: holds {strange[0]!r}, which is no table; --force only replaces "
            "folders of tables, remove it by hand"
        )
