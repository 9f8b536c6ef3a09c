"""One user out of the request log of `tessera serve --log-requests`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import DataError
from core.files import staged_file
from pipeline.forget.person import Finding, Person

_USER = "user"


def forget_in_log(folder: Path, person: Person, dry_run: bool) -> Iterator[Finding]:
    """Removes the user's requests from every part below a folder; a part changes in one step.

    Requests without a name are nobody's and stay: they are logged so without `--log-users`.

    Raises:
      DataError: there is no part, or one cannot be read.
    """
    parts = sorted(folder.rglob("part-*.parquet"))
    if not parts:
        raise DataError(f"{folder}: no request log here (hour=YYYY-MM-DDTHH/part-*.parquet)")
    nameless, strange = 0, 0
    for path in parts:
        rows = _read(path)
        users = rows[_USER]
        own = person.rows(users)
        nameless += users.null_count
        strange += person.other_keys(users)
        count = pc.sum(own).as_py() or 0
        if not count:
            continue
        yield Finding("request log", str(path), f"{count} requests")
        if not dry_run:
            with staged_file(path) as staging:
                pq.write_table(rows.filter(pc.invert(own)), staging)
    if strange:
        yield Finding("unclear", str(folder), f"{strange} users hashed with another key")
    if nameless:
        yield Finding("look", str(folder), f"{nameless} requests without a user, kept")


def _read(path: Path) -> pa.Table:
    try:
        table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}; remove it") from error
    if _USER not in table.column_names:
        raise DataError(f"{path}: no part of a request log: no column {_USER}")
    return table
