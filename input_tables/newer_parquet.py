"""Parquet that this Arrow cannot read, read by DuckDB.

TFX holds Arrow at a version that knows neither float16 nor views, and not every encoding of
V2 pages. One such column is enough to keep it from opening the file, whether the column is
asked for or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

#: What Arrow says of files that are whole but newer than itself.
_SAYINGS = (
    "not yet implemented",
    "not implemented",
    "unrecognized type",
    "not recognized",
    "unsupported encoding",
    "unknown encoding",
    "unsupported data type",
    "unhandled type",
    "cannot decode",
    "unexpected end of stream: page was smaller",
)
MEND = (
    "written with a newer Parquet than this Arrow reads (V2 pages, views, float16, ...); rewrite "
    'it, for example pq.write_table(table, path, version="2.4", data_page_version="1.0", '
    "store_schema=False)"
)


def is_newer(text: object) -> bool:
    """Returns whether Arrow's error is about something that it does not know yet."""
    said = str(text).lower()
    return any(saying in said for saying in _SAYINGS)


def schema(path: str | Path) -> pa.Schema:
    """Returns the columns of a file as Arrow types (texts and lists as they are)."""
    with _asked("SELECT * FROM read_parquet(?) LIMIT 0", path, 1) as reader:
        return reader.schema


def parquet_rows(path: str | Path) -> int:
    """Returns the number of rows of a Parquet file, newer than this Arrow or not."""
    try:
        return int(pq.ParquetFile(path).metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        if not is_newer(error):
            raise
    import duckdb

    with duckdb.connect() as database:
        query = "SELECT count(*) FROM read_parquet(?)"
        found = database.execute(query, [str(path)]).fetchone()
    return int(found[0]) if found else 0


def batches(path: str | Path, columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yields some columns of a file in its order."""
    chosen = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
    query = f"SELECT {chosen} FROM read_parquet(?)"
    with _asked(query, path, batch_rows) as reader:
        yield from reader


@contextmanager
def _asked(query: str, path: str | Path, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
    import duckdb

    with duckdb.connect() as database:
        # One thread: only then do rows come in the order of the file.
        database.execute("SET threads = 1")
        yield database.execute(query, [str(path)]).to_arrow_reader(batch_rows)
