"""Amazon reviews as cut for S3-Rec: `<Set>.txt` and `<Set>_item2attributes.json`.

Each line of the text file is `user item item ...` in time order; times are lost,
so `timestamp` is the position in the line. Attributes are numbers; a JSON file of
names (`<Set>_id2attribute.json`, `<Set>_attribute2id.json` or one of the same
names without the set) gives them names, otherwise topics are `attribute_<n>`.
The set holds no follows.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from core.errors import DataError
from input_tables.importers.base import Imported, Importer, Source

_ACTION = "review"


def read(source: Source) -> Imported:
    """Reads one set; give its `.txt` file when the folder holds several."""
    attributes = _sequence_set(source)
    stem = PurePosixPath(attributes).name.removesuffix("_item2attributes.json")
    text = source.require(f"{stem}.txt")
    engagements = _engagements(source, text)
    items = _items(source, attributes, stem, engagements)
    return Imported(engagements, items, None, "order", ("timestamps are positions",))


def _sequence_set(source: Source) -> str:
    only = source.path.name
    if only.endswith(".txt"):
        return source.require(f"{only.removesuffix('.txt')}_item2attributes.json")
    found = [n for n in source.names if n.endswith("_item2attributes.json")]
    if len(found) > 1:
        raise DataError(f"{source.path}: several sets ({', '.join(found)}); give one .txt file")
    return source.require("*_item2attributes.json")


def _engagements(source: Source, name: str) -> pa.Table:
    lines = [line.split() for line in source.text(name).splitlines()]
    short = next((n for n, line in enumerate(lines) if len(line) == 1), None)
    if short is not None:
        raise DataError(f"{source.where(name)}:{short + 1}: a user without items")
    lines = [line for line in lines if line]
    lengths = np.array([len(line) - 1 for line in lines], np.int64)
    starts = np.cumsum(lengths) - lengths
    users = pa.array([line[0] for line in lines], pa.string())
    total = int(lengths.sum())
    return pa.table(
        {
            "user_id": users.take(pa.array(np.repeat(np.arange(len(lines)), lengths))),
            "item_id": pa.array([item for line in lines for item in line[1:]], pa.string()),
            "timestamp": np.arange(total) - np.repeat(starts, lengths),
            "action": pa.array([_ACTION]).take(pa.array(np.zeros(total, np.int64))),
        }
    )


def _items(source: Source, attributes: str, stem: str, engagements: pa.Table) -> pa.Table:
    table = _json(source, attributes)
    names = _names(source, stem)
    used = engagements["item_id"].unique().to_pylist()
    ids = sorted({*table, *used}, key=lambda item: (len(item), item))
    topics = [[names.get(str(a), f"attribute_{a}") for a in table.get(i, [])] for i in ids]
    return pa.table({"item_id": ids, "topics": pa.array(topics, pa.list_(pa.string()))})


def _names(source: Source, stem: str) -> dict[str, str]:
    """Returns attribute number -> name, from either direction of mapping."""
    wanted = ("id2attribute.json", "attribute2id.json", "id2attributes.json", "attributes2id.json")
    found = source.find(*(f"{stem}_{name}" for name in wanted), *wanted)
    if found is None:
        return {}
    table = _json(source, found)
    if "2id" in PurePosixPath(found).name:
        return {str(number): name for name, number in table.items()}
    return {number: str(name) for number, name in table.items()}


def _json(source: Source, name: str) -> dict[str, Any]:
    try:
        table = json.loads(source.text(name))
    except json.JSONDecodeError as error:
        raise DataError(f"{source.where(name)}:{error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(table, dict):
        raise DataError(f"{source.where(name)}: expected a JSON object")
    return table


IMPORTER = Importer(
    "amazon_sequence", "Amazon (S3-Rec cut)", "<Set>.txt, <Set>_item2attributes.json", read
)
