"""Writes raw examples as the example generator does: Parquet, list columns, a folder per split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainer import features


def example(
    user: str,
    target: str,
    history: list[str] | None = None,
    follows: list[str] | None = None,
    timestamp: int = 1000,
    topics: list[str] | None = None,
) -> dict[str, list[Any]]:
    history = history or []
    return {
        features.USER_ID: [user],
        features.TIMESTAMP: [timestamp],
        features.HISTORY_ITEM_ID: history,
        features.HISTORY_TIMESTAMP: [timestamp - 1 - i for i in range(len(history))],
        features.HISTORY_ACTION: ["read"] * len(history),
        features.FOLLOWED_TOPIC: follows or [],
        features.ITEM_ID: [target],
        features.ITEM_TOPICS: topics or [],
        features.ACTION: ["read"],
    }


def corpus_item(item: str, topics: list[str]) -> dict[str, list[Any]]:
    return {features.ITEM_ID: [item], features.ITEM_TOPICS: topics, features.TIMESTAMP: [0]}


def to_table(rows: list[dict[str, list[Any]]]) -> pa.Table:
    columns = {}
    for name in features.RAW_FEATURES:
        values = [row.get(name, []) for row in rows]
        if name in features.INT_FEATURES:
            columns[name] = pa.array(values, pa.large_list(pa.int64()))
        else:
            as_bytes = [[v.encode() if isinstance(v, str) else v for v in row] for row in values]
            columns[name] = pa.array(as_bytes, pa.large_list(pa.large_binary()))
    return pa.table(columns)


def write_split(uri: str | Path, split: str, rows: list[dict[str, list[Any]]] | pa.Table) -> None:
    folder = Path(uri) / f"Split-{split}"
    folder.mkdir(parents=True, exist_ok=True)
    table = rows if isinstance(rows, pa.Table) else to_table(rows)
    pq.write_table(table, folder / "data-00000-of-00001.parquet")
