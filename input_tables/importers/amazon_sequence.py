"""Amazon reviews as cut for S3-Rec: `<Set>.txt` and `<Set>_item2attributes.json`.

Each line of the text file is `user item item ...` in time order; times are lost,
so `timestamp` is the position in the line. Attributes are numbers; a JSON file of
names (`<Set>_id2attribute.json`, `<Set>_attribute2id.json` or one of the same
names without the set) gives them names, otherwise topics are `attribute_<n>`.
The set holds no follows.
"""

from __future__ import annotations

import io
import json
import re
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from core.errors import DataError
from input_tables.importers.base import Imported, Importer
from input_tables.importers.content import clear
from input_tables.importers.delimited import lines
from input_tables.importers.meeting import unmet
from input_tables.importers.source import Source

_ACTION = "review"
_BLANKS = re.compile("[ \t]+")
_ATTRIBUTES = "_item2attributes.json"


def read(source: Source) -> Imported:
    """Reads one set; give its `.txt` file when the folder holds several."""
    stem = _stem(source)
    attributes = source.require(f"{stem}{_ATTRIBUTES}")
    text = source.require(f"{stem}.txt")
    engagements = _engagements(source, text)
    table = _attributes(source, attributes)
    names = _names(source, stem)
    items = _items(table, names, engagements)
    known = pa.array(table, pa.string())
    warnings = [unmet(engagements["item_id"], known, f"items of {text}", attributes)]
    if names:
        used = pa.array(chain.from_iterable(table.values()), pa.string())
        known = pa.array(names, pa.string())
        warnings.append(unmet(used, known, f"attributes of {attributes}", "their names"))
    notes = ("timestamps are positions",)
    told = tuple(warning for warning in warnings if warning)
    return Imported(engagements, items, None, "order", notes, told)


def _stem(source: Source) -> str:
    only = source.path.name
    if source.path.is_file() and only.endswith(".txt"):
        return source.main(only).removesuffix(".txt")
    return PurePosixPath(source.main(f"*{_ATTRIBUTES}")).name.partition(_ATTRIBUTES)[0]


def _engagements(source: Source, name: str) -> pa.Table:
    """Reads `user item item ...` lines; a user's lines continue one another."""
    users: list[str] = []
    items: list[str] = []
    lengths: list[int] = []
    with source.open(name) as stream, clear(source.where(name), "read"):
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="\n")
        blank: int | None = None
        for number, line in lines(text):
            fields = _BLANKS.split(line.strip(" \t"))
            if fields == [""]:
                blank = blank or number
                continue
            if blank or len(fields) == 1:
                why = "is blank" if blank else f"names a user without items: {fields[0]!r}"
                raise DataError(f"{source.where(name)}:{blank or number}: {why}")
            users.append(fields[0])
            items += fields[1:]
            lengths.append(len(fields) - 1)
    if not users:
        raise DataError(f"{source.where(name)}: the file is empty")
    user = np.repeat(np.array(users, object), lengths)
    return pa.table(
        {
            "user_id": pa.array(user, pa.string()),
            "item_id": pa.array(items, pa.string()),
            "timestamp": pa.array(pd.Series(user).groupby(user).cumcount(), pa.int64()),
            "action": pa.array([_ACTION]).take(pa.array(np.zeros(len(items), np.int64))),
        }
    )


def _attributes(source: Source, name: str) -> dict[str, list[str]]:
    """Returns item -> numbers of its attributes; a single number is a list of one."""
    table: dict[str, list[str]] = {}
    for item, value in _json(source, name).items():
        values = value if isinstance(value, list) else [] if value is None else [value]
        if any(not isinstance(v, (int, str)) or isinstance(v, bool) for v in values):
            shown = json.dumps(value)[:80]
            raise DataError(
                f"{source.where(name)}: the attributes of {item!r} are no list of numbers: {shown}"
            )
        table[item] = [str(v) for v in values]
    return table


def _items(table: dict[str, list[str]], names: dict[str, str], engagements: pa.Table) -> pa.Table:
    used = engagements["item_id"].unique().to_pylist()
    ids = sorted({*table, *used}, key=lambda item: (len(item), item))
    topics = [[names.get(a, f"attribute_{a}") for a in table.get(i, [])] for i in ids]
    return pa.table(
        {"item_id": pa.array(ids, pa.string()), "topics": pa.array(topics, pa.list_(pa.string()))}
    )


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
        table = json.loads(source.text(name), object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise DataError(f"{source.where(name)}:{error.lineno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source.where(name)}: not usable JSON: {error}") from error
    if not isinstance(table, dict):
        raise DataError(f"{source.where(name)}: expected a JSON object")
    return table


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        again = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {again!r} is there twice")
    return table


IMPORTER = Importer(
    "amazon_sequence", "Amazon (S3-Rec cut)", "<Set>.txt, <Set>_item2attributes.json", read
)
