"""Canonical tables from any file with columns: `tessera data import table`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from core.errors import DataError
from core.files import write_json
from input_tables.contract import COLUMNS, ENGAGEMENTS, FOLLOWS, ITEMS, Table
from input_tables.importers.meeting import unmet
from input_tables.importers.table.catalogue import catalogue
from input_tables.importers.table.mapping import TableMapping, mapping_of, pairs
from input_tables.importers.table.rows import TableRows
from input_tables.importers.table.tally import Tally
from input_tables.output import FileFormat, TableWriter, whole_folder

__all__ = ["TableMapping", "import_table", "mapping_of", "pairs", "try_table"]

_SECONDS_OF_GRACE = 86_400
#: Portions whose distinct values are kept apart.
_MERGED_PORTIONS = 64


def import_table(
    mapping: TableMapping,
    out: str | Path,
    file_format: FileFormat = "parquet",
    force: bool = False,
) -> dict[str, Any]:
    """Imports files by a mapping of their columns; `out` appears whole or not at all.

    Args:
      mapping: what is read as what.
      out: folder for the tables; `source.json` in it says what was read and how.
      file_format: of the tables written.
      force: replace tables that are there already.

    Returns:
      What `source.json` holds: the mapping, counts per table, the first rows as they
      were understood, notes and warnings.

    Raises:
      ConfigError: `out` is not free.
      DataError: a file is missing or is not as the mapping says, no row is good, or
        more than `max_bad_share` of a table's rows are refused.
    """
    with whole_folder(out, force) as root:
        summary = _Import(mapping, root, file_format).run()
        write_json(root / "source.json", summary)
    return summary


def try_table(mapping: TableMapping) -> dict[str, Any]:
    """Returns what `import_table` would, of the first rows of each file, and writes nothing.

    Raises:
      DataError: as `import_table`.
    """
    with tempfile.TemporaryDirectory() as root:
        return _Import(mapping, Path(root), "parquet", first=True).run()


class _Import:
    """One import: three tables, then what does not fit together."""

    def __init__(
        self, mapping: TableMapping, root: Path, file_format: FileFormat, first: bool = False
    ) -> None:
        self._first = first
        self._mapping, self._root, self._format = mapping, root, file_format
        self._now = int(time.time()) + _SECONDS_OF_GRACE
        self._ordered = "timestamp" not in mapping.map
        self._tallies: dict[Table, Tally] = {}
        self._rows: dict[str, int] = {}
        self._notes: list[str] = []
        self._warnings: list[str] = []

    def run(self) -> dict[str, Any]:
        users, engaged = self._engagements()
        items = self._items(engaged)
        follows = self._follows()
        told = [unmet(engaged, items["item_id"], "items of engagements", "the catalogue")]
        if follows is not None:
            told.append(unmet(follows["user_id"], users, "following users", "engagements"))
            told.append(unmet(follows["topic"], _flat(items), "followed topics", "the items"))
        if not self._first:  # what is not among the first rows may come later
            self._warnings += [warning for warning in told if warning]
        if self._ordered:
            self._notes.append("no timestamp: it is the position in the user's rows")
        return {
            "set": "table",
            "mapping": self._mapping.model_dump(mode="json", exclude_defaults=True),
            "files": sorted({path for t in self._tallies.values() for path in t.formats}),
            "time_unit": "order" if self._ordered else "seconds",
            **self._rows,
            "users": len(users),
            "tables": {table: tally.report() for table, tally in self._tallies.items()},
            "notes": self._notes,
            "warnings": self._warnings,
        }

    def _read(self, table: Table) -> TableRows:
        return TableRows(self._mapping, table, self._now, self._ordered, self._first)

    def _engagements(self) -> tuple[pa.Array, pa.Array]:
        """Writes engagements; returns the users and the items that are in them."""
        reader, seen = self._read(ENGAGEMENTS), _Positions()
        users, items = _Distinct(), _Distinct()
        with TableWriter(self._root, ENGAGEMENTS, self._format) as writer:
            for portion in reader.portions():
                if self._ordered:
                    place = portion.schema.get_field_index("timestamp")
                    positions = pa.array(seen.of(portion["user_id"]))
                    portion = portion.set_column(place, "timestamp", positions)
                writer.write(_given(portion, ENGAGEMENTS, self._mapping.map))
                users.add(portion["user_id"])
                items.add(portion["item_id"])
        self._settle(ENGAGEMENTS, reader.tally)
        return users.values(), items.values()

    def _items(self, engaged: pa.Array) -> pa.Table:
        if not self._mapping.part(ITEMS).map:
            self._notes.append(
                "no catalogue: the items are those of the engagements, without topics"
            )
            empty = pa.array([[]] * len(engaged), pa.list_(pa.string()))
            items = pa.table({"item_id": engaged, "topics": empty})
        else:
            reader = self._read(ITEMS)
            portions = list(reader.portions())
            if portions:
                items, merged = catalogue(pa.concat_tables(portions))
                reader.tally.merged, reader.tally.written = merged, items.num_rows
                items = _given(items, ITEMS, {**self._mapping.items.map, "topics": ()})
            self._settle(ITEMS, reader.tally)
        self._write(ITEMS, items)
        return items

    def _follows(self) -> pa.Table | None:
        if not self._mapping.part(FOLLOWS).map:
            self._notes.append("no follows table: nobody follows anything")
            return None
        reader = self._read(FOLLOWS)
        portions = list(reader.portions())
        self._settle(FOLLOWS, reader.tally)
        follows = _given(pa.concat_tables(portions), FOLLOWS, self._mapping.follows.map)
        self._write(FOLLOWS, follows)
        return follows

    def _write(self, table: Table, rows: pa.Table) -> None:
        with TableWriter(self._root, table, self._format) as writer:
            writer.write(rows)
        self._rows[table] = rows.num_rows

    def _settle(self, table: Table, tally: Tally) -> None:
        """Raises DataError where too few rows are good."""
        self._tallies[table] = tally
        self._warnings += tally.warnings
        self._rows[table] = tally.written
        examples = "; ".join(
            f"{e['file']}:{e['line']}: {e['reason']}: {e['text']}" for e in tally.examples[:2]
        )
        if not tally.written:
            why = f" ({examples})" if examples else ""
            raise DataError(f"{table}: none of {tally.read:,} rows can be used{why}")
        share = self._mapping.max_bad_share
        if tally.refused > share * (tally.read - tally.left_out + tally.added):
            raise DataError(
                f"{table}: {tally.refused:,} of {tally.read:,} rows are refused, at most "
                f"{share:.2%} may be (--max-bad-share): {examples}"
            )


class _Positions:
    """Numbers the rows of each user, portion after portion."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def of(self, users: pa.ChunkedArray) -> np.ndarray:
        """Returns int64 `[rows]` positions of these rows, from 0."""
        series = pd.Series(users.to_pylist(), dtype=object)
        before = series.map(self._counts).fillna(0).to_numpy(np.int64)
        within = series.groupby(series, sort=False).cumcount().to_numpy(np.int64)
        for user, count in series.value_counts(sort=False).items():
            self._counts[str(user)] = self._counts.get(str(user), 0) + int(count)
        return before + within


def _given(rows: pa.Table, table: Table, given: dict[str, Any]) -> pa.Table:
    """Returns the columns that a mapping gives, and the required ones."""
    named = [c.name for c in COLUMNS[table] if c.required or c.name in given]
    return rows.select(named)


class _Distinct:
    """The distinct values of many portions, in the order in which they came."""

    def __init__(self) -> None:
        self._parts: list[pa.Array] = []

    def add(self, column: pa.ChunkedArray) -> None:
        self._parts.append(column.combine_chunks().unique())
        if len(self._parts) > _MERGED_PORTIONS:
            self._parts = [self.values()]

    def values(self) -> pa.Array:
        """Returns all of them."""
        return pa.concat_arrays(self._parts or [pa.array([], pa.string())]).unique()


def _flat(items: pa.Table) -> pa.Array:
    return pa.concat_arrays([chunk.flatten() for chunk in items["topics"].chunks])
