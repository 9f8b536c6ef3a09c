"""Reads all tables once and tells whether a run could use them."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from core.progress import track
from input_tables.config import DataConfig
from input_tables.contract import ENGAGEMENTS, FOLLOWS, ITEMS, TABLES, DeadLetter, Table
from input_tables.layout import check_headers, find_tables, fingerprint, read_settings
from input_tables.reading import read_table


class _Seen:
    """What is counted over the batches of all tables."""

    def __init__(self) -> None:
        self.users: set[bytes] = set()
        self.engaged: set[bytes] = set()
        self.items: set[bytes] = set()
        self.item_rows = 0
        self.topics: set[bytes] = set()
        self.without_topics = 0
        self.followed: set[bytes] = set()
        self.actions: Counter[str] = Counter()
        self.times: list[int] = []

    def add(self, table: Table, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        if table == ENGAGEMENTS:
            self.users.update(_distinct(batch["user_id"]))
            self.engaged.update(_distinct(batch["item_id"]))
            for entry in batch["action"].value_counts().to_pylist():
                self.actions[entry["values"].decode()] += entry["counts"]
            bounds = pc.min_max(batch["timestamp"]).as_py()
            known = [*self.times, bounds["min"], bounds["max"]]
            self.times = [min(known), max(known)]
        elif table == ITEMS:
            self.items.update(_distinct(batch["item_id"]))
            self.item_rows += batch.num_rows
            self.topics.update(_distinct(pc.list_flatten(batch["topics"])))
            lengths = pc.list_value_length(batch["topics"])
            self.without_topics += pc.sum(pc.equal(lengths, 0)).as_py() or 0
        elif table == FOLLOWS:
            self.followed.update(_distinct(batch["topic"]))


def _distinct(array: pa.Array) -> list[bytes]:
    values: list[bytes] = pc.unique(array).to_pylist()
    return values


def check_tables(
    config: DataConfig,
    time_unit: Literal["seconds", "order"] = "seconds",
    max_problems: int = 10,
) -> dict[str, Any]:
    """Checks layout, headers and every row.

    Returns:
      `layout`, `window`, `fingerprint`, `tables` {name: {files, bytes, rows, bad}},
      `rows`, `bad`, `bad_share` (of the worst table), `reasons` {text: count},
      `problems` (the first dead letters) and `facts` (counts over good rows).

    Raises:
      DataError: the layout or a header is wrong, or a file is damaged.
    """
    found = find_tables(config)
    check_headers(found)
    settings = read_settings(found, time_unit)
    seen, reasons, problems = _Seen(), Counter[str](), list[DeadLetter]()
    tables: dict[str, dict[str, int]] = {}
    with track("check", len(found.files)) as bar:
        for file in found.files:
            entry = tables.setdefault(file.table, {"files": 0, "bytes": 0, "rows": 0, "bad": 0})
            entry["files"] += 1
            entry["bytes"] += file.bytes
            for batch, letters in read_table(file.path, file.table, settings, name=file.name):
                seen.add(file.table, batch)
                entry["rows"] += batch.num_rows + len(letters)
                entry["bad"] += len(letters)
                reasons.update(f"{file.table}: {letter.reason}" for letter in letters)
                problems += letters[: max_problems - len(problems)]
            bar.advance()
    shares = [entry["bad"] / entry["rows"] for entry in tables.values() if entry["rows"]]
    return {
        "layout": found.layout,
        "window": [str(day) for day in found.window] if found.window else None,
        "fingerprint": fingerprint(found),
        "tables": {table: tables[table] for table in TABLES if table in tables},
        "rows": sum(entry["rows"] for entry in tables.values()),
        "bad": sum(entry["bad"] for entry in tables.values()),
        "bad_share": max(shares, default=0.0),
        "reasons": dict(reasons.most_common()),
        "problems": [letter._asdict() for letter in problems],
        "facts": _facts(seen),
    }


def _facts(seen: _Seen) -> dict[str, Any]:
    return {
        "users": len(seen.users),
        "items": len(seen.items),
        "topics": len(seen.topics),
        "actions": dict(seen.actions.most_common(20)),
        "timestamps": seen.times or None,
        "engaged items not in the catalogue": len(seen.engaged - seen.items),
        "repeated item rows": seen.item_rows - len(seen.items),
        "items without topics": seen.without_topics,
        "followed topics without items": len(seen.followed - seen.topics),
    }
