"""Reads the raw Parquet examples without TFX, Beam or TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import DataError
from trainer import features

_BATCH_ROWS = 8_192
_OPTIONAL = set(features.VALUE_FEATURES)


def split_files(uri: str, split: str) -> list[Path]:
    """Returns the files of one split, sorted by name.

    Raises:
      DataError: the split has no files.
    """
    files = sorted((Path(uri) / f"Split-{split}").glob("*.parquet"))
    if not files:
        raise DataError(f"{uri}: split {split!r} has no Parquet files")
    return files


def read_split(
    uri: str, split: str, columns: Sequence[str] | None = None, batch_rows: int = _BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Streams one split in the order of its files.

    Args:
      uri: of the `examples` artifact.
      split: `train`, `validation`, `eval` or `corpus`.
      columns: names to read, all when None; those of features may be missing.
      batch_rows: most rows per batch.

    Yields:
      Non-empty batches whose columns are lists (`large_list` of `large_binary` or int64).

    Raises:
      DataError: the split is missing, a column is missing, or a file is corrupt.
    """
    for path in split_files(uri, split):
        try:
            file = pq.ParquetFile(path)
            missing = set(columns or ()) - set(file.schema_arrow.names)
            wanted = columns and [c for c in columns if c not in missing & _OPTIONAL]
            missing -= _OPTIONAL
            if missing:
                raise DataError(f"{path}: no column {', '.join(sorted(missing))}")
            for batch in file.iter_batches(batch_rows, columns=wanted):
                if batch.num_rows:
                    yield batch
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: cannot be read as Parquet: {error}") from error


def count_rows(uri: str, split: str) -> int:
    """Returns the number of examples of one split, from the files' footers."""
    return sum(pq.ParquetFile(path).metadata.num_rows for path in split_files(uri, split))


def padded(
    batch: pa.RecordBatch | pa.Table, column: str, max_len: int, fill: bytes | str | int
) -> np.ndarray:
    """Returns a list column as a dense matrix, cut or padded on the right.

    Args:
      batch: rows with list columns.
      column: name of the column.
      max_len: width of the result.
      fill: value of the padding; its type decides the dtype.

    Returns:
      `[rows, max_len]`: int64 for an int `fill`, otherwise an object array of `bytes`.
    """
    lists = batch.column(column)
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
    rows = len(lists)
    lengths = np.asarray(lists.value_lengths().fill_null(0)).astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    flat = lists.flatten()
    is_int = isinstance(fill, (int, np.integer))
    padding = fill.encode() if isinstance(fill, str) else fill
    dense = np.full((rows, max_len), padding, np.int64 if is_int else object)
    row = np.repeat(np.arange(rows), lengths)
    place = np.arange(len(row)) - np.repeat(starts, lengths)
    keep = place < max_len
    values = np.asarray(flat) if is_int else flat.to_numpy(zero_copy_only=False)
    dense[row[keep], place[keep]] = values[keep]
    return dense
