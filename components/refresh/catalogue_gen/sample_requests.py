"""The sample requests of a bundle as raw examples."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.example_gen.columns import EXAMPLE_SCHEMA
from core.errors import BundleError
from trainer import features

#: Columns of `requests.parquet`: those of a request, and who asked.
SINGLE_COLUMNS = (features.USER_ID, features.TIMESTAMP)
LIST_COLUMNS = (
    features.HISTORY_ITEM_ID,
    features.HISTORY_TIMESTAMP,
    features.HISTORY_ACTION,
    features.FOLLOWED_TOPIC,
)


def request_examples(path: Path, schema: pa.Schema = EXAMPLE_SCHEMA) -> pa.RecordBatch:
    """Returns the requests of `requests.parquet` as raw examples without a target.

    Args:
      path: of the file.
      schema: of the examples (`example_schema`).

    Raises:
      BundleError: the file cannot be read or lacks a column.
    """
    try:
        lists = [*LIST_COLUMNS, *(n for n in (features.USER_VALUES,) if n in schema.names)]
        table = pq.read_table(path, columns=[*SINGLE_COLUMNS, *lists])
        table = table.select([*SINGLE_COLUMNS, *lists])
    except (pa.ArrowException, KeyError, OSError) as error:
        raise BundleError(f"{path}: cannot be read as sample requests: {error}") from error
    columns = {}
    for field in schema:
        if field.name in SINGLE_COLUMNS:
            columns[field.name] = _single(table.column(field.name), field.type)
        elif field.name in lists:
            columns[field.name] = _list(table.column(field.name), field.type)
        else:
            columns[field.name] = pa.array([[]] * table.num_rows, field.type)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _single(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    values = column.cast(kind.value_type).combine_chunks()
    offsets = pa.array(range(len(values) + 1), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, values)


def _list(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    lists = column.cast(kind).combine_chunks()
    return lists.fill_null(pa.scalar([], kind)) if lists.null_count else lists
