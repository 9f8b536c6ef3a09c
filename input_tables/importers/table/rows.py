"""Portions of files as canonical rows of one table."""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import DataError
from input_tables.contract import COLUMNS, ENGAGEMENTS, FOLLOWS, ReadSettings, Table
from input_tables.faults import Faults
from input_tables.importers.content import clear
from input_tables.importers.table.convert import EARLIEST, check_joint, check_unit, seconds, topics
from input_tables.importers.table.header import WantedColumns
from input_tables.importers.table.mapping import SourcePart, TableMapping
from input_tables.importers.table.portion import Portion
from input_tables.importers.table.records import read
from input_tables.importers.table.tally import Tally
from input_tables.rows import check_rows

_SHOWN_ROWS = 3
_PLACEHOLDER = r"^(nan|none|null|n/a|\\n|<na>|undefined)$"
_EXPONENT = r"^[0-9]+\.[0-9]+[eE]\+?[0-9]+$"
_NESTED = r"^[\[{].*[\]}]$"
_BLANKS = " \t\r\n\u00a0"


class TableRows:
    """Reads the files of one canonical table.

    Attributes:
      tally: counts and examples, whole when `portions` has ended.
    """

    def __init__(
        self, mapping: TableMapping, table: Table, now: int, ordered: bool, first: bool = False
    ) -> None:
        """Takes a mapping of which `table` is a part; `now` is in seconds since 1970.

        Args:
          mapping: what is read as what.
          table: the canonical table.
          now: later times are refused.
          ordered: times are positions, which the caller adds.
          first: read the first rows of each file alone.
        """
        self._mapping, self._table, self._now, self._ordered = mapping, table, now, ordered
        self._first = first
        self._part: SourcePart = mapping.part(table)
        self._unseen = {
            (column, value)
            for column, values in self._part.where.items()
            for value in values.split("|")
        }
        self.tally = Tally()
        self._settings = ReadSettings(
            time_unit="order" if ordered else "seconds", max_timestamp=None if ordered else now
        )

    def portions(self) -> Iterator[pa.Table]:
        """Yields good rows with text in place of bytes, all columns of the contract.

        Raises:
          DataError: a file cannot be read, or its times or topics are of another kind.
        """
        for path in files_of(self._part):
            checked = False
            for portion in read(path, self._wanted(), self.tally):
                with clear(path, f"read as {self._table}"):
                    chosen = self._chosen(portion)
                    if not checked and len(chosen.places):
                        self._check_kinds(chosen, path)
                        checked = True
                    good = self._canonical(chosen, path)
                self.tally.written += good.num_rows
                if good.num_rows:
                    yield good
                if self._first:
                    break
        if self._first:
            return
        for column, value in sorted(self._unseen):
            self.tally.warnings.append(f"no row of {self._table} has {column} {value!r} (where)")

    def _wanted(self) -> WantedColumns:
        part, given = self._part, self._part.map
        mapped = [column for columns in given.values() for column in columns]
        key = "user_id" if self._table == FOLLOWS else "item_id"
        columns = tuple(dict.fromkeys([*mapped, *part.where]))
        return WantedColumns(
            columns,
            part.separator,
            part.quotes,
            part.escape,
            part.columns,
            self._mapping.encoding,
            given[key][0],
        )

    def _chosen(self, portion: Portion) -> Portion:
        """Leaves out the rows that `where` does not choose."""
        keep = np.ones(len(portion.places), bool)
        for column, value in self._part.where.items():
            text = pc.utf8_trim(portion.columns[column].cast(pa.string()), _BLANKS)
            wanted = pa.array(value.split("|"), pa.string())
            keep &= pc.is_in(text, value_set=wanted).to_numpy(zero_copy_only=False)
            for each in wanted.to_pylist():
                if (column, each) in self._unseen and pc.any(pc.equal(text, each)).as_py():
                    self._unseen.discard((column, each))
        if keep.all():
            return portion
        self.tally.left_out += int((~keep).sum())
        mask = pa.array(keep)
        columns = {name: array.filter(mask) for name, array in portion.columns.items()}
        return Portion(columns, portion.places[keep])

    def _check_kinds(self, portion: Portion, path: str) -> None:
        for name, columns in self._part.map.items():
            values = portion.columns[columns[0]]
            kind = _kind(self._table, name)
            if kind == "time" and not self._ordered and name == "timestamp":
                unit = self._mapping.unit(self._table)
                check_unit(values, unit, self._now, path, columns[0])
            if kind == "topics" and len(columns) == 1:
                check_joint(values, self._mapping.topics_separator, path, columns[0])

    def _canonical(self, portion: Portion, path: str) -> pa.Table:
        faults = Faults(len(portion.places))
        raw = {
            name: self._column(name, [portion.columns[c] for c in columns], faults)
            for name, columns in self._part.map.items()
        }
        if self._table == ENGAGEMENTS:
            self._add_action(raw, len(portion.places))
        good = np.ones(len(portion.places), bool)
        if faults.codes is not None:
            good = faults.codes < 0
            for row in np.flatnonzero(~good).tolist():
                reason = faults.reasons[faults.codes[row]]
                self.tally.refuse(path, int(portion.places[row]), reason, _row(portion, row))
        return self._checked(raw, portion, np.flatnonzero(good), path)

    def _checked(
        self, raw: dict[str, pa.Array], portion: Portion, rows: np.ndarray, path: str
    ) -> pa.Table:
        raw = {name: array.take(pa.array(rows)) for name, array in raw.items()}
        if self._table == FOLLOWS and "topics" in raw:
            parent = pc.list_parent_indices(raw["topics"]).to_numpy().astype(np.int64)
            self.tally.left_out += len(rows) - len(np.unique(parent))
            self.tally.added += len(parent) - len(np.unique(parent))
            topic = pc.list_flatten(raw.pop("topics"))
            raw = {name: array.take(pa.array(parent)) for name, array in raw.items()}
            raw, rows = {**raw, "topic": topic}, rows[parent]
        checked = check_rows(_as_bytes(raw), len(rows), self._table, self._settings, False)
        for position, reason in zip(checked.bad.tolist(), checked.reasons, strict=True):
            row = int(rows[position])
            self.tally.refuse(path, int(portion.places[row]), reason, _row(portion, row))
        kept = np.delete(rows, checked.bad)
        good = _as_text(checked.batch)
        self._show(good, kept, portion, path)
        return good

    def _add_action(self, raw: dict[str, pa.Array], rows: int) -> None:
        fallback = self._mapping.action
        given = raw.get("action", pa.array([""] * rows, pa.string()))
        if fallback:
            given = pc.if_else(pc.equal(given, "").fill_null(True), fallback, given)
        raw["action"] = given
        if "timestamp" not in raw:
            raw["timestamp"] = pa.array(np.zeros(rows, np.int64))

    def _column(self, name: str, arrays: list[pa.Array], faults: Faults) -> pa.Array:
        kind = _kind(self._table, name)
        if kind == "time":
            unit, values = self._mapping.unit(self._table), arrays[0]
            if name == "unfollowed_at" and pa.types.is_string(values.type):
                # The year 9999 stands for `never`.
                values = pc.replace_substring_regex(values, r"^\s*9999-.*$", "")
            times, bad = seconds(values, unit)
            faults.flag(bad, f"{name} is no time (--time-unit {unit})")
            if self._table == ENGAGEMENTS and name == "timestamp":
                faults.flag(_flags(pc.less(times, EARLIEST)), "timestamp is before 1990")
            return times
        if kind == "topics":
            return _joined([self._topics(name, array, faults) for array in arrays])
        text = _as_ids(arrays[0])
        if kind == "text":
            return text
        text = pc.utf8_trim(text, _BLANKS)
        if name in ("user_id", "item_id", "topic"):
            held = pc.match_substring_regex(text, _PLACEHOLDER, ignore_case=True)
            faults.flag(_flags(held), f"{name} is a placeholder such as nan or null")
            nested = pc.match_substring_regex(text, _NESTED)
            faults.flag(_flags(nested), f"{name} is a list or an object")
            faults.flag(
                _flags(pc.match_substring_regex(text, _EXPONENT)),
                f"{name} is a number with an exponent, whose last digits are lost",
            )
        return text

    def _topics(self, name: str, array: pa.Array, faults: Faults) -> pa.Array:
        lists, bad = topics(array, self._mapping.topics_separator)
        faults.flag(bad, f"{name} is no list of topics")
        return lists

    def _show(self, good: pa.Table, rows: np.ndarray, portion: Portion, path: str) -> None:
        for place in range(min(_SHOWN_ROWS - len(self.tally.first_rows), good.num_rows)):
            row = good.slice(place, 1).to_pylist()[0]
            source = int(rows[place])
            read_as = {n: _told(n, value) for n, value in row.items() if value not in (None, [])}
            entry = {"file": path, "line": int(portion.places[source])}
            text = _row(portion, source)
            self.tally.first_rows.append({**entry, "text": text, "read_as": read_as})


def files_of(part: SourcePart) -> list[str]:
    """Returns the files of a part: those named, and those in the folders that are.

    Raises:
      DataError: there is none.
    """
    found: list[str] = []
    for name in part.files:
        path = Path(name)
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if p.is_file() and not _hidden(p, path)]
            if not inside:
                raise DataError(f"{path}: holds no files")
            found += [str(p) for p in inside]
        elif path.is_file():
            found.append(str(path))
        else:
            raise DataError(f"{path}: not found; expected a file or a folder of files")
    again = [name for name, count in Counter(map(os.path.realpath, found)).items() if count > 1]
    if again:
        raise DataError(f"{again[0]}: is given more than once; its rows would count twice")
    return found


def _hidden(path: Path, root: Path) -> bool:
    return any(part[0] in "._" for part in path.relative_to(root).parts)


def _kind(table: Table, name: str) -> str:
    if name == "topics":
        return "topics"
    return next(column.kind for column in COLUMNS[table] if column.name == name)


def _as_ids(array: pa.Array) -> pa.Array:
    """Returns text; whole floats, as pandas makes them of integers with gaps, without `.0`."""
    if pa.types.is_floating(array.type):
        values = array.cast(pa.float64())
        whole = _flags(pc.equal(pc.floor(values), values)) & _flags(pc.less(pc.abs(values), 2**53))
        plain = pa.array(np.where(whole, values.fill_null(0).to_numpy(zero_copy_only=False), 0))
        return pc.if_else(
            pa.array(whole), plain.cast(pa.int64()).cast(pa.string()), values.cast(pa.string())
        )
    text = array if pa.types.is_string(array.type) else array.cast(pa.string())
    return text.fill_null("")


def _joined(lists: list[pa.Array]) -> pa.Array:
    if len(lists) == 1:
        return lists[0]
    rows = zip(*(array.to_pylist() for array in lists), strict=True)
    return pa.array([[topic for part in row for topic in part] for row in rows], lists[0].type)


def _as_bytes(raw: dict[str, pa.Array]) -> dict[str, pa.Array]:
    return {
        name: array.cast(pa.binary()) if pa.types.is_string(array.type) else array
        for name, array in raw.items()
    }


def _as_text(batch: pa.RecordBatch) -> pa.Table:
    columns = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_binary(array.type):
            array = array.cast(pa.string())
        elif pa.types.is_list(array.type):
            array = array.cast(pa.list_(pa.string()))
        columns[name] = array
    return pa.table(columns)


def _row(portion: Portion, row: int) -> str:
    shown = (f"{name}={array[row].as_py()!r}" for name, array in portion.columns.items())
    return " ".join(shown)


def _told(name: str, value: Any) -> Any:
    if isinstance(value, int) and name != "topics" and value > 86_400 * 365:
        when = dt.datetime.fromtimestamp(value, dt.timezone.utc)
        return f"{value} ({when:%Y-%m-%d %H:%M:%S} UTC)"
    return value


def _flags(found: pa.Array) -> np.ndarray:
    return np.asarray(found.fill_null(False).to_numpy(zero_copy_only=False), bool)
