"""Topics in force for a user at a moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.arrays import (
    Coded,
    coded,
    combined,
    position_in_run,
    ranges,
    run_starts,
)

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Follows:
    """Follows of one bucket, sorted by user, then newest first, undated last, then by name.

    Attributes:
      start: `[users + 1]` int64, the rows of user code u are `start[u]:start[u + 1]`.
      dated_end: `[users]` int64, end of the user's rows that have a timestamp.
      timestamp: `[rows]` int64; 0 for undated rows.
      until: `[rows]` int64 when the follow ended, the largest int64 for never.
      topic: `[rows]` int64 codes.
      removable: `[users]` int64, rows of the user that may be out of force at some
        moment after they began, or repeat a topic.
      topics: code -> topic.
    """

    start: np.ndarray
    dated_end: np.ndarray
    timestamp: np.ndarray
    until: np.ndarray
    topic: np.ndarray
    removable: np.ndarray
    topics: pa.Array


@dataclass(frozen=True)
class InForce:
    """Topics in force per request, flat.

    Attributes:
      lengths: `[requests]` int64.
      topic: `[sum(lengths)]` codes, in the order of `Follows`.
    """

    lengths: np.ndarray
    topic: np.ndarray


def prepare(table: pa.Table, user_ids: pa.Array) -> Follows:
    """Sorts follows and drops users without events.

    Args:
      table: rows of `FOLLOW_SCHEMA`, any order. Rows of the same user, topic and
        timestamp count once, ended at the earliest `unfollowed_at` that one of them has.
      user_ids: sorted distinct users of the bucket's events.
    """
    position = pc.index_in(combined(table.column("user_id")), value_set=user_ids)
    known = pc.is_valid(position)
    table = table.filter(known)
    user = np.asarray(position.drop_null()).astype(np.int64)
    topic: Coded = coded(table.column("topic"))
    stamp, undated = _nullable(table.column("timestamp"), 0)
    until, _ = _nullable(table.column("unfollowed_at"), _NEVER)
    order = np.lexsort((until, topic.codes, ~stamp, undated, user))
    user, stamp, undated, until = user[order], stamp[order], undated[order], until[order]
    codes = topic.codes[order]
    first = run_starts(user, undated, stamp, codes)
    user, stamp, undated, until, codes = (a[first] for a in (user, stamp, undated, until, codes))
    users = len(user_ids)
    start = np.searchsorted(user, np.arange(users + 1))
    dated = np.bincount(user[~undated], minlength=users)
    removable = until != _NEVER
    removable |= _repeats_topic(user, codes)
    return Follows(
        start=start,
        dated_end=start[:-1] + dated,
        timestamp=stamp,
        until=until,
        topic=codes,
        removable=np.bincount(user[removable], minlength=users),
        topics=topic.values,
    )


def in_force(follows: Follows, user: np.ndarray, timestamp: np.ndarray, limit: int) -> InForce:
    """Returns the topics that each request's user follows strictly before its time.

    Args:
      follows: prepared follows.
      user: `[requests]` user codes.
      timestamp: `[requests]` int64.
      limit: most topics per request; the newest are kept.
    """
    first = _first_before(follows, user, timestamp)
    # Rows from `first` on began in time. Of those, at most `removable` fall away, so
    # this window always holds the first `limit` that stay.
    window = np.minimum(follows.start[user + 1] - first, limit + follows.removable[user])
    rows = ranges(first, window)
    request = np.repeat(np.arange(len(user), dtype=np.int64), window)
    if follows.removable[user].any():
        live = follows.until[rows] > timestamp[request]
        rows, request = rows[live], request[live]
        fresh = ~_repeats_topic(request, follows.topic[rows])
        rows, request = rows[fresh], request[fresh]
        within = position_in_run(run_starts(request)) < limit
        rows, request = rows[within], request[within]
        window = np.bincount(request, minlength=len(user))
    return InForce(lengths=window, topic=follows.topic[rows])


def window_sizes(follows: Follows, user: np.ndarray, limit: int) -> np.ndarray:
    """Returns upper bounds `[requests]` of the rows that `in_force` expands per request."""
    return np.minimum(
        follows.start[user + 1] - follows.start[user], limit + follows.removable[user]
    )


def _first_before(follows: Follows, user: np.ndarray, timestamp: np.ndarray) -> np.ndarray:
    """Returns `[requests]` the user's first row that began before the request (or is undated)."""
    moments = np.unique(follows.timestamp)
    # Rank 0 is the newest moment, so that ranks grow along a user's rows as users do.
    row_rank = len(moments) - 1 - np.searchsorted(moments, follows.timestamp)
    # Moments at or after the request have ranks below this one.
    request_rank = len(moments) - np.searchsorted(moments, timestamp, side="left")
    stride = len(moments) + 2
    row_user = np.repeat(np.arange(len(follows.start) - 1), np.diff(follows.start))
    row = np.arange(len(row_user))
    undated = row >= follows.dated_end[row_user]
    row_key = row_user * stride + np.where(undated, stride - 1, row_rank)
    return np.searchsorted(row_key, user * stride + request_rank, side="left")


def _nullable(column: pa.ChunkedArray, fill: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns values with nulls filled, and where the nulls were."""
    array = combined(column)
    return np.asarray(array.fill_null(fill)), ~np.asarray(pc.is_valid(array))


def _repeats_topic(group: np.ndarray, topic: np.ndarray) -> np.ndarray:
    """Marks rows whose topic stands further up in the same group."""
    order = np.lexsort((topic, group))
    repeated = np.zeros(len(order), bool)
    repeated[order] = ~run_starts(group[order], topic[order])
    return repeated
