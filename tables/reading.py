"""Reads tables as a stream of validated Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from tables.contract import DeadLetter, ReadSettings, Table


def read_table(
    source: str | Path | BinaryIO,
    table: Table,
    settings: ReadSettings,
    *,
    name: str | None = None,
) -> Iterator[tuple[pa.RecordBatch, list[DeadLetter]]]:
    """Yields (batch of good rows of `SCHEMAS[table]`, dead letters) in file order.

    Args:
      source: path, or an open binary file object that can seek (gzip is
        recognised by content, so an already decompressed stream is fine).
      table: which table the file holds.
      settings: row checks and portions.
      name: what messages call the file; needed for file objects. A name that
        ends in `.parquet` is read as Parquet, anything else as CSV.

    Raises:
      DataError: missing column, wrong type, corrupt or unreadable file.
    """
    raise NotImplementedError
