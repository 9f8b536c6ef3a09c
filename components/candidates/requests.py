"""Users of one bucket as requests: history and follows in force at a moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.arrays import combined
from components.example_gen.columns import FOLLOW_SCHEMA
from components.example_gen.events import collect
from components.example_gen.follows import in_force, prepare
from components.example_gen.users import user_values
from trainer import features

#: Rows held before duplicates and what exceeds the cap are dropped.
_COMPACT_ROWS = 1_000_000


class Moment(NamedTuple):
    """When users ask.

    Attributes:
      now: moment of the requests; None: one past the user's last event (positions).
      history_max: newest events sent.
      follows_max: most followed topics.
    """

    now: int | None
    history_max: int
    follows_max: int


class BucketUsers(NamedTuple):
    """Users of a bucket, sorted by id, with flat lists (newest first).

    Attributes:
      ids: `[users]` binary.
      now: `[users]` int64.
      history: `[users + 1]` offsets into `item`, `time` and `action`.
      item: `[events]` object (bytes); `time` int64, `action` object alike.
      follow: `[users + 1]` offsets into `topic`.
      topic: object (bytes).
      values: `[users]` lists of texts `name=value`; None for a model without features.
    """

    ids: list[bytes]
    now: np.ndarray
    history: np.ndarray
    item: np.ndarray
    time: np.ndarray
    action: np.ndarray
    follow: np.ndarray
    topic: np.ndarray
    values: pa.Array | None = None


def users_of(
    events: Iterable[pa.Table],
    follows: Iterable[pa.Table],
    moment: Moment,
    known: Iterable[pa.Table] | None = None,
) -> BucketUsers:
    """Gathers the users of a bucket.

    Args:
      events: tables of `EVENT_SCHEMA`; events at or after the moment are left out.
      follows: tables of `FOLLOW_SCHEMA`; who only follows is a user too.
      moment: when they ask.
      known: tables of `USER_SCHEMA`; None for a model without features.
    """
    before = (_before(table, moment.now) for table in events)
    found = collect(before, [], moment.history_max, _COMPACT_ROWS, Counter())
    followed = pa.concat_tables([FOLLOW_SCHEMA.empty_table(), *follows])
    engaged = found.user_ids.cast(pa.large_binary())
    both = pa.chunked_array([engaged, *followed.column("user_id").chunks], pa.large_binary())
    ids = pa.array(sorted(set(both.to_pylist())), pa.large_binary())
    place = np.asarray(pc.index_in(engaged, value_set=ids)).astype(np.int64)
    user = place[found.user] if len(place) else found.user
    history = np.searchsorted(user, np.arange(len(ids) + 1))
    now = np.full(len(ids), moment.now or 0, np.int64)
    if moment.now is None:
        last = np.diff(history) > 0
        now[last] = found.timestamp[history[:-1][last]] + 1
    prepared = prepare(followed, ids)
    live = in_force(prepared, np.arange(len(ids)), now, moment.follows_max)
    return BucketUsers(
        ids=ids.to_pylist(),
        now=now,
        history=history,
        item=_objects(found.item_ids, found.item),
        time=found.timestamp,
        action=_objects(found.actions, found.action),
        follow=np.concatenate([[0], np.cumsum(live.lengths)]),
        topic=_objects(prepared.topics, live.topic),
        values=None if known is None else user_values(known, ids),
    )


def batches(users: BucketUsers, size: int) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Yields users as inputs of `retrieve`, in order, `size` at a time."""
    for first in range(0, len(users.ids), size):
        rows = slice(first, min(first + size, len(users.ids)))
        item = _padded(users.history, users.item, rows, b"")
        topic = _padded(users.follow, users.topic, rows, b"")
        inputs = {
            features.TIMESTAMP: users.now[rows],
            features.HISTORY_ITEM_ID: item,
            features.HISTORY_TIMESTAMP: _padded(users.history, users.time, rows, 0),
            features.HISTORY_ACTION: _padded(users.history, users.action, rows, b""),
            features.FOLLOWED_TOPIC: topic,
        }
        if users.values is not None:
            offsets = np.asarray(users.values.offsets)
            texts = np.array([*users.values.values.to_pylist(), None], object)[:-1]
            inputs[features.USER_VALUES] = _padded(offsets, texts, rows, b"")
        yield rows, inputs


def _before(table: pa.Table, now: int | None) -> pa.Table:
    if now is None:
        return table
    return table.filter(pc.less(combined(table.column("timestamp")), now))


def _objects(values: pa.Array, codes: np.ndarray) -> np.ndarray:
    names = np.array([*values.to_pylist(), None], object)[:-1]
    return names[codes] if len(names) else np.empty(0, object)


def _padded(offsets: np.ndarray, values: np.ndarray, rows: slice, pad: bytes | int) -> np.ndarray:
    """Returns the lists of some users as `[users, longest]`, one column at least."""
    starts, ends = offsets[rows.start : rows.stop], offsets[rows.start + 1 : rows.stop + 1]
    lengths = ends - starts
    width = max(1, int(lengths.max(initial=0)))
    array = np.full((len(starts), width), pad, values.dtype)
    there = np.arange(width)[None, :] < lengths[:, None]
    array[there] = values[starts[0] : ends[-1]] if len(starts) else values[:0]
    return array
