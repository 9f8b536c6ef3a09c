"""Builds the training examples of one user bucket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from components.config import ExampleGenConfig
from components.example_gen.arrays import lists, optionals, ranges, singles
from components.example_gen.columns import FOLLOW_SCHEMA, example_schema
from components.example_gen.events import Events, collect
from components.example_gen.follows import Follows, InForce, in_force, prepare, window_sizes
from components.example_gen.sources import source_topics
from components.example_gen.targets import TARGET_SPLITS, Targets, choose
from components.example_gen.users import user_values
from trainer import features

#: Examples built at a time, and values of their longest lists; bounds memory.
CHUNK_EXAMPLES = 8_192
_CHUNK_VALUES = 1_000_000


def build(
    event_tables: Iterable[pa.Table],
    topic_tables: Iterable[pa.Table],
    follow_tables: Iterable[pa.Table],
    config: ExampleGenConfig,
    window_end: int,
    counts: Counter[str],
    user_tables: Iterable[pa.Table] = (),
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yields (split, examples) of all users of one bucket.

    The result depends on the set of rows, not on their order or portions.

    Args:
      event_tables: tables of `EVENT_SCHEMA`; all rows of a user are in this bucket.
      topic_tables: tables of `TOPIC_SCHEMA` with every catalogue item that the events name.
      follow_tables: tables of `FOLLOW_SCHEMA`.
      config: what makes an example.
      window_end: end (exclusive) of the eval period, for the time split.
      counts: what happened is added to it.
      user_tables: tables of `USER_SCHEMA`; read where the configuration has features.
    """
    events = collect(
        event_tables, topic_tables, config.max_events_per_user, 2 * config.bucket_rows, counts
    )
    targets = choose(events, config, window_end, counts)
    follows = prepare(
        pa.concat_tables([FOLLOW_SCHEMA.empty_table(), *follow_tables]), events.user_ids
    )
    known = user_values(user_tables, events.user_ids) if config.features else None
    counts["users"] += len(events.user_ids)
    lengths, sizes = np.unique(targets.history_length, return_counts=True)
    counts.update({f"history:{n}": int(c) for n, c in zip(lengths, sizes, strict=True)})
    for split, name in enumerate(TARGET_SPLITS):
        chosen = np.flatnonzero(targets.split == split)
        counts[f"examples:{name}"] += len(chosen)
        for chunk in _chunks(chosen, events, targets, follows, config.follows_max_topics):
            batch = _batch(chunk, events, targets, follows, config.follows_max_topics, counts)
            yield name, batch if known is None else _featured(batch, known, events, targets, chunk)


def _featured(
    batch: pa.RecordBatch, known: pa.Array, events: Events, targets: Targets, chunk: np.ndarray
) -> pa.RecordBatch:
    """Adds the features of the users; those of items stand in the corpus alone."""
    nothing = lists(known.values[:0], np.zeros(len(chunk), np.int64))
    columns = {
        **dict(zip(batch.schema.names, batch.columns, strict=True)),
        features.ITEM_VALUES: nothing,
        features.USER_VALUES: _take(known, events.user[targets.row[chunk]]),
    }
    schema = example_schema(known)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _chunks(
    chosen: np.ndarray, events: Events, targets: Targets, follows: Follows, limit: int
) -> Iterator[np.ndarray]:
    """Cuts targets into runs of bounded size."""
    user = events.user[targets.row[chosen]]
    weights = np.maximum(targets.history_length[chosen], window_sizes(follows, user, limit))
    filled = np.cumsum(weights)
    start = 0
    while start < len(chosen):
        base = filled[start] - weights[start]
        stop = int(np.searchsorted(filled, base + _CHUNK_VALUES, side="right"))
        stop = max(start + 1, min(stop, start + CHUNK_EXAMPLES))
        yield chosen[start:stop]
        start = stop


def _batch(
    chunk: np.ndarray,
    events: Events,
    targets: Targets,
    follows: Follows,
    limit: int,
    counts: Counter[str],
) -> pa.RecordBatch:
    """Builds one batch of examples.

    Args:
      chunk: `[examples]` indices into `targets`.
      events: ordered events.
      targets: chosen targets.
      follows: prepared follows.
      limit: most followed topics per example.
      counts: source topics by origin are added to it.
    """
    row = targets.row[chunk]
    lengths = targets.history_length[chunk]
    past = ranges(targets.history_start[chunk], lengths)
    times = events.timestamp[row]
    followed = in_force(follows, events.user[row], times, limit)
    source_topic, derived = source_topics(events, row, follows, followed)
    present = derived >= 0
    counts["source_topic_logged"] += int((derived == 0).sum())
    counts["source_topic_derived"] += int((derived == 1).sum())
    columns = {
        features.USER_ID: singles(_take(events.user_ids, events.user[row])),
        features.TIMESTAMP: singles(pa.array(times)),
        features.HISTORY_ITEM_ID: lists(_take(events.item_ids, events.item[past]), lengths),
        features.HISTORY_TIMESTAMP: lists(pa.array(events.timestamp[past]), lengths),
        features.HISTORY_ACTION: lists(_take(events.actions, events.action[past]), lengths),
        features.FOLLOWED_TOPIC: _followed(follows, followed),
        features.ITEM_ID: singles(_take(events.item_ids, events.item[row])),
        features.ITEM_TOPICS: events.topics.take(pa.array(events.item[row])),
        features.ACTION: singles(_take(events.actions, events.action[row])),
        features.SOURCE: optionals(_take_optional(events.sources, events.source[row])),
        features.SOURCE_TOPIC: optionals(source_topic),
        features.SOURCE_TOPIC_DERIVED: lists(pa.array(derived[present]), present.astype(np.int64)),
    }
    schema = example_schema(False)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _followed(follows: Follows, followed: InForce) -> pa.LargeListArray:
    return lists(_take(follows.topics, followed.topic), followed.lengths)


def _take(values: pa.Array, codes: np.ndarray) -> pa.Array:
    return values.take(pa.array(codes))


def _take_optional(values: pa.Array, codes: np.ndarray) -> pa.Array:
    """Takes values; the code past the end means null."""
    return values.take(pa.array(codes, mask=codes == len(values)))
