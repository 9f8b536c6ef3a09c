"""Names of columns and files that are nearly right: a slip, not something else."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from input_tables.contract import COLUMNS, TABLES, Table

#: What may stand behind the name of a table, in files that are not read.
_SUFFIXES = re.compile(
    r"(\.(csv|tsv|txt|tab|dat|json|jsonl|ndjson|xlsx?|pq|parq|parquet|feather|arrow|avro|orc"
    r"|gz|gzip|zip|bz2|xz|zst|snappy))+$"
)


def near_columns(names: Sequence[str], table: Table) -> dict[str, str]:
    """Returns {column as it stands: column of the contract} where only the writing differs.

    Columns whose right name stands in the table as well are left out.
    """
    wanted = {_plain(column.name): column.name for column in COLUMNS[table]}
    return {
        name: wanted[_plain(name)]
        for name in names
        if name not in wanted.values()
        and _plain(name) in wanted
        and wanted[_plain(name)] not in names
    }


def like_columns(names: Iterable[str], table: Table) -> dict[str, str]:
    """Returns {unused column: optional column of the contract that is not there and like it}."""
    names = list(names)
    missing = [c.name for c in COLUMNS[table] if c.name not in names and not c.required]
    found: dict[str, str] = {}
    for name in names:
        if name not in {c.name for c in COLUMNS[table]}:
            like = difflib.get_close_matches(name.strip().lower(), missing, n=1, cutoff=0.8)
            if like:
                found[name] = like[0]
    return found


def near_tables(names: Iterable[str]) -> dict[str, Table]:
    """Returns {name of a file or folder: the table that it most likely should be}.

    Args:
      names: entries of the folder of the tables that are not read.
    """
    found: dict[str, Table] = {}
    for name in names:
        stem = _SUFFIXES.sub("", name.strip().lower())
        stem = re.sub(r"(\s*\(\d+\)|[\s_-]*copy)$", "", stem).strip()
        for table in TABLES:
            if stem.rstrip("s") == table.rstrip("s"):
                found[name] = table
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
