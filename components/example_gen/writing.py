"""Writes examples as Parquet, one file per bucket and split, whole or not at all."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from components.example_gen.columns import EXAMPLE_SCHEMA
from core.storage import ObjectStore, is_remote
from trainer import features

#: Rows that readers get at once; TFX makes one batch of each row group.
ROW_GROUP_ROWS = 4_096
_DICTIONARY_COLUMNS = [
    f"{name}.list.item"
    for name in (*features.RAW_FEATURES, *features.VALUE_FEATURES)
    if name not in features.INT_FEATURES
]


def split_file(examples_uri: str, split: str, name: str) -> str:
    """Returns the path of one file of a split."""
    if is_remote(examples_uri):
        return f"{examples_uri}/Split-{split}/{name}.parquet"
    return str(FileSystems.join(examples_uri, f"Split-{split}", f"{name}.parquet"))


class SplitWriters:
    """Open files of one bucket, one per split that has examples.

    Each file is written under a temporary name and renamed when the bucket is
    complete, always to the same name: a bucket that Beam runs twice replaces its
    files with equal ones, and a bucket that fails leaves none. Below a URL the temporary
    file is one of this machine, and what appears there is whole.
    """

    def __init__(self, examples_uri: str, name: str) -> None:
        self._uri = examples_uri
        self._name = name
        self._open: dict[str, tuple[pq.ParquetWriter, BinaryIO, str]] = {}

    def write(self, split: str, batch: pa.RecordBatch) -> None:
        """Appends a batch of examples; all of a split have one schema (`example_schema`)."""
        if split not in self._open:
            self._open[split] = self._start(split, batch.schema)
        self._open[split][0].write_table(
            pa.Table.from_batches([batch]), row_group_size=ROW_GROUP_ROWS
        )

    def _start(self, split: str, schema: pa.Schema) -> tuple[pq.ParquetWriter, BinaryIO, str]:
        staging = _staging(self._uri, split, self._name)
        sink = FileSystems.create(staging, "application/octet-stream", "uncompressed")
        writer = pq.ParquetWriter(
            sink, schema, compression="snappy", use_dictionary=_DICTIONARY_COLUMNS
        )
        return writer, sink, staging

    def __enter__(self) -> SplitWriters:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for split, (writer, sink, staging) in self._open.items():
            writer.close()
            sink.close()
            target = split_file(self._uri, split, self._name)
            if kind is None and not is_remote(target):
                FileSystems.rename([staging], [target])
                continue
            try:
                if kind is None:
                    store, name = ObjectStore.beside(target)
                    store.upload(Path(staging), name)
            finally:
                FileSystems.delete([staging])


def _staging(uri: str, split: str, name: str) -> str:
    """Returns where a file is written first; its folder is there."""
    # Hidden from readers, whose pattern is `*`.
    hidden = f".{name}.tmp-{uuid.uuid4().hex[:8]}"
    if is_remote(uri):
        return str(Path(tempfile.gettempdir()) / hidden)
    folder = FileSystems.split(split_file(uri, split, name))[0]
    if not FileSystems.exists(folder):
        try:
            FileSystems.mkdirs(folder)
        except OSError:
            if not FileSystems.exists(folder):
                raise
    return str(FileSystems.join(folder, hidden))


def write_empty(examples_uri: str, split: str, schema: pa.Schema = EXAMPLE_SCHEMA) -> None:
    """Writes a file without rows, so that a split without examples can still be read."""
    with SplitWriters(examples_uri, "examples-empty") as writers:
        writers.write(split, pa.RecordBatch.from_pylist([], schema=schema))
