"""One bucket of the catalogue: distinct items, the corpus split, and events that name them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.arrays import (
    coded,
    combined,
    lists,
    run_ends_per_row,
    run_starts,
    singles,
)
from components.example_gen.columns import (
    BYTES_LIST,
    EXAMPLE_SCHEMA,
    INT_LIST,
    ITEM_SCHEMA,
    TOPIC_SCHEMA,
)
from input_tables.contract import DeadLetter
from trainer import features

DUPLICATE_ITEM = "duplicate item_id"
_CORPUS_ROWS = 8_192


def distinct_items(tables: Iterable[pa.Table]) -> tuple[pa.Table, list[DeadLetter]]:
    """Keeps one row per item id, whatever the order of the rows.

    Of several rows with one id, the one with the most topics stays, then the one
    whose topics sort first; the others become dead letters.

    Args:
      tables: rows of `ITEM_SCHEMA`.

    Returns:
      Items sorted by id, and a dead letter per removed row.
    """
    table = pa.concat_tables([ITEM_SCHEMA.empty_table(), *tables])
    item = coded(table.column("item_id")).codes
    order = np.argsort(item, kind="stable")
    starts = run_starts(item[order])
    sizes = run_ends_per_row(starts)[starts] - np.flatnonzero(starts)
    first = np.flatnonzero(starts)
    keep = order[first]
    letters: list[DeadLetter] = []
    for run in np.flatnonzero(sizes > 1):
        rows = order[first[run] : first[run] + sizes[run]]
        copies = table.take(pa.array(rows)).to_pylist()
        preferences = [_preference(row) for row in copies]
        best, *others = sorted(range(len(copies)), key=preferences.__getitem__)
        keep[run] = rows[best]
        letters += [_letter(copies[n]) for n in others]
    return table.take(pa.array(keep)).combine_chunks(), letters


def _preference(row: dict[str, Any]) -> tuple[int, list[bytes], bytes, int]:
    topics = row["topics"] or []
    return -len(topics), topics, row["file"], row["row"]


def _letter(row: dict[str, Any]) -> DeadLetter:
    topics = b"|".join(row["topics"] or [])
    text = b",".join((row["item_id"], topics)).decode("utf-8", "replace")[:200]
    return DeadLetter(row["file"].decode(), row["row"], DUPLICATE_ITEM, text)


def corpus(items: pa.Table, schema: pa.Schema = EXAMPLE_SCHEMA) -> Iterator[pa.RecordBatch]:
    """Yields the corpus examples: an item and what is known of it, nothing about a user.

    Args:
      items: rows of `ITEM_SCHEMA`.
      schema: of the examples, see `example_schema`.
    """
    for start in range(0, items.num_rows, _CORPUS_ROWS):
        part = items.slice(start, _CORPUS_ROWS)
        rows = part.num_rows
        nothing = np.zeros(rows, np.int64)
        columns = {
            name: lists(pa.array([], kind.value_type), nothing)
            for name, kind in zip(schema.names, schema.types, strict=True)
        }
        columns[features.USER_ID] = singles(pa.array([b""] * rows, BYTES_LIST.value_type))
        columns[features.TIMESTAMP] = singles(pa.array(nothing, INT_LIST.value_type))
        columns[features.ITEM_ID] = singles(combined(part.column("item_id")))
        columns[features.ITEM_TOPICS] = topics_of(part)
        if features.ITEM_VALUES in schema.names:
            columns[features.ITEM_VALUES] = values_of(part)
        yield pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def topics_of(items: pa.Table) -> pa.Array:
    """Returns topics with empty lists for null: null means not in the catalogue elsewhere."""
    return _without_nulls(items, "topics")


def values_of(items: pa.Table) -> pa.Array:
    """Returns the texts `name=value` of items, empty lists for null."""
    return _without_nulls(items, "features")


def _without_nulls(items: pa.Table, name: str) -> pa.Array:
    column = combined(items.column(name))
    lengths = np.asarray(pc.list_value_length(column).fill_null(0))
    return lists(column.flatten(), lengths)


def topics_named(events: pa.RecordBatch, item_ids: pa.Array, topics: pa.Array) -> pa.RecordBatch:
    """Returns the catalogue's entries for the items that events name, each once.

    Sending these beside the events costs far less than a list of topics per event.

    Args:
      events: rows of `EVENT_SCHEMA`.
      item_ids: distinct items.
      topics: their topics, a list each.

    Returns:
      Rows of `TOPIC_SCHEMA`; items outside the catalogue are missing.
    """
    found = pc.index_in(events.column("item_id"), value_set=item_ids)
    named = pa.array(np.unique(np.asarray(found.drop_null())))
    return pa.RecordBatch.from_arrays(
        [item_ids.take(named), topics.take(named)], schema=TOPIC_SCHEMA
    )
