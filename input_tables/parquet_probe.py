"""Reads Parquet files to see whether they can be read; run as a process of its own.

Arrow can crash the whole process on damaged Parquet files, so `input_tables.verify`
lets this script meet them first. It imports nothing of the project.

Protocol: one JSON line `{"path": ..., "columns": [...], "groups": [...] or null}` per file
on stdin; per file a line on stdout: `ok`, or `error <text>`; and `.` lines as a sign of life.
"""

from __future__ import annotations

import json
import sys

import pyarrow.parquet as pq

_BATCH_ROWS = 65_536


def probe(path: str, columns: list[str], groups: list[int] | None = None) -> str:
    """Returns `ok` or `error <text>` for one file."""
    try:
        with open(path, "rb") as stream:
            file = pq.ParquetFile(stream)
            names = [name for name in columns if name in file.schema_arrow.names]
            wanted = range(file.num_row_groups) if groups is None else groups
            for batch in file.iter_batches(
                _BATCH_ROWS, row_groups=list(wanted), columns=names, use_threads=False
            ):
                batch.validate(full=True)
                _say(".")
    except Exception as error:
        return "error " + " ".join(str(error).split())[:300]
    return "ok"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for request in sys.stdin:
        asked = json.loads(request)
        _say(probe(asked["path"], asked["columns"], asked["groups"]))
