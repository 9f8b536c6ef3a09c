"""Columns of the items table that requests filter by; they travel beside the examples.

No model reads them, so they are no features: `attributes/` in the `examples` artifact holds
them as Parquet, `item_id` and one column of text per attribute, a file per bucket of items.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.example_gen.arrays import combined
from core.errors import DataError
from core.storage import ObjectStore, is_remote

FOLDER = "attributes"


def with_attributes(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Adds the column `attributes`: the values of other columns as one list of texts per row.

    Args:
      table: rows of an items table with the named columns.
      names: of the columns, in the order of the lists.
    """
    if not names:
        return table
    rows, width = table.num_rows, len(names)
    texts = [combined(table.column(name)) for name in names]
    columns = [text if pa.types.is_binary(text.type) else text.cast(pa.string()) for text in texts]
    values = pa.concat_arrays([column.cast(pa.large_binary()) for column in columns])
    by_row = np.arange(width * rows).reshape(width, rows).T.ravel()
    offsets = pa.array(np.arange(rows + 1) * width, pa.int64())
    lists = pa.LargeListArray.from_arrays(offsets, values.take(pa.array(by_row)))
    return table.append_column("attributes", lists)


def attribute_columns(items: pa.Table, names: Sequence[str]) -> pa.Table:
    """Returns `item_id` and a column of text per attribute.

    Args:
      items: rows of `ITEM_SCHEMA`.
      names: what `attributes` of the items holds, in order.
    """
    flat = combined(items.column("attributes")).flatten()
    width = len(names)
    columns = {
        name: flat.take(pa.array(np.arange(place, width * items.num_rows, width)))
        for place, name in enumerate(names)
    }
    return pa.table({"item_id": items.column("item_id"), **columns})


def write_attributes(
    examples_uri: str, file_name: str, items: pa.Table, names: Sequence[str]
) -> None:
    """Writes the attributes of some items, whole or not at all.

    Args:
      examples_uri: of the `examples` artifact.
      file_name: without its ending; the same for the same bucket.
      items: rows of `ITEM_SCHEMA`.
      names: what `attributes` holds, in order; nothing is written for none.
    """
    if not names:
        return
    table = attribute_columns(items, names)
    if is_remote(examples_uri):
        sink = io.BytesIO()
        pq.write_table(table, sink)
        ObjectStore(f"{examples_uri}/{FOLDER}").write(f"{file_name}.parquet", sink.getvalue())
        return
    from apache_beam.io.filesystems import FileSystems  # seconds that readers do not need

    folder = FileSystems.join(examples_uri, FOLDER)
    if not FileSystems.exists(folder):
        try:
            FileSystems.mkdirs(folder)
        except OSError:
            if not FileSystems.exists(folder):
                raise
    staging = FileSystems.join(folder, f".{file_name}.tmp-{uuid.uuid4().hex[:8]}")
    with FileSystems.create(staging, "application/octet-stream", "uncompressed") as stream:
        pq.write_table(table, stream)
    FileSystems.rename([staging], [FileSystems.join(folder, f"{file_name}.parquet")])


def read_attributes(examples_uri: str, names: Sequence[str]) -> pa.Table:
    """Returns `item_id` and the named columns, large_binary each.

    Raises:
      DataError: the examples hold no such columns.
    """
    columns = ["item_id", *names]
    files = sorted((Path(examples_uri) / FOLDER).glob("*.parquet"))
    try:
        tables = [pq.read_table(path, columns=columns) for path in files]
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{examples_uri}/{FOLDER}: cannot be read: {error}") from error
    if not tables or any(table.column_names != columns for table in tables):
        raise DataError(
            f"{examples_uri}: the examples hold no {', '.join(names)} of the items; they were "
            "made with other retrieval.filters: run the pipeline from its start"
        )
    return pa.concat_tables(tables)
