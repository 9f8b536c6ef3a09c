"""One bucket's events: ordered, without duplicates, capped per user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.arrays import Coded, coded, combined, position_in_run, run_starts
from components.example_gen.columns import EVENT_SCHEMA, TOPIC_SCHEMA


@dataclass(frozen=True)
class Events:
    """Events sorted by user, then NEWEST FIRST, then item and action.

    Attributes:
      user: codes `[rows]` int64 of the user id, in byte order.
      timestamp: `[rows]` int64.
      item: codes `[rows]` of the item id.
      action: codes `[rows]` of the action.
      source: codes `[rows]`; the highest code means not logged.
      source_topic: codes `[rows]`; the highest code means not logged.
      user_ids: code -> user id; the other value arrays alike.
      topics: code of item -> list of topics; null when the item is not in the catalogue.
    """

    user: np.ndarray
    timestamp: np.ndarray
    item: np.ndarray
    action: np.ndarray
    source: np.ndarray
    source_topic: np.ndarray
    user_ids: pa.Array
    item_ids: pa.Array
    actions: pa.Array
    sources: pa.Array
    source_topics: pa.Array
    topics: pa.Array


def collect(
    tables: Iterable[pa.Table],
    topic_tables: Iterable[pa.Table],
    max_events_per_user: int,
    compact_rows: int,
    counts: Counter[str],
) -> Events:
    """Gathers the events of one bucket.

    Whenever more than `compact_rows` rows are held, duplicates and what exceeds
    the cap per user are dropped at once, so that a user who owns most of the log
    costs no more memory than the cap allows.

    Args:
      tables: event tables of `EVENT_SCHEMA`, any order.
      topic_tables: tables of `TOPIC_SCHEMA`, any order; an item may come several times.
      max_events_per_user: newest distinct events kept per user.
      compact_rows: rows held before compaction.
      counts: `duplicate_event` and `over_user_cap` are added to it.
    """
    held: list[pa.Table] = []
    rows, limit = 0, compact_rows
    for table in tables:
        held.append(table)
        rows += table.num_rows
        if rows > limit:
            merged = pa.concat_tables(held)
            keep, _ = _order(merged, max_events_per_user, counts)
            held = [merged.take(pa.array(keep)).combine_chunks()]
            rows = held[0].num_rows
            limit = max(compact_rows, 2 * rows)
    merged = pa.concat_tables(held) if held else EVENT_SCHEMA.empty_table()
    keep, columns = _order(merged, max_events_per_user, counts)
    return Events(
        user=columns["user_id"].codes[keep],
        timestamp=np.asarray(combined(merged.column("timestamp")))[keep],
        item=columns["item_id"].codes[keep],
        action=columns["action"].codes[keep],
        source=columns["source"].codes[keep],
        source_topic=columns["source_topic"].codes[keep],
        user_ids=columns["user_id"].values,
        item_ids=columns["item_id"].values,
        actions=columns["action"].values,
        sources=columns["source"].values,
        source_topics=columns["source_topic"].values,
        topics=_topics_by_item(topic_tables, columns["item_id"].values),
    )


_KEYS = ("user_id", "item_id", "action", "source", "source_topic")


def _order(
    table: pa.Table, max_events_per_user: int, counts: Counter[str]
) -> tuple[np.ndarray, dict[str, Coded]]:
    """Returns the rows to keep, in order, and the coded columns of all rows."""
    columns = {name: coded(table.column(name)) for name in _KEYS}
    # Complement, not negation: the smallest int64 has no negative.
    newest_first = ~np.asarray(combined(table.column("timestamp")))
    user, item, action = (columns[name].codes for name in _KEYS[:3])
    order = np.lexsort(
        (
            columns["source_topic"].codes,
            columns["source"].codes,
            action,
            item,
            newest_first,
            user,
        )
    )
    distinct = run_starts(user[order], newest_first[order], item[order], action[order])
    counts["duplicate_event"] += int(len(order) - distinct.sum())
    order = order[distinct]
    within = position_in_run(run_starts(user[order])) < max_events_per_user
    counts["over_user_cap"] += int(len(order) - within.sum())
    return order[within], columns


def _topics_by_item(tables: Iterable[pa.Table], item_ids: pa.Array) -> pa.Array:
    """Returns the topics of each item, null for items outside the catalogue."""
    table = pa.concat_tables([TOPIC_SCHEMA.empty_table(), *tables])
    entry = pc.index_in(item_ids, value_set=combined(table.column("item_id")))
    return combined(table.column("topics")).take(entry)
