"""Merge of the slots' candidate lists into one list without duplicates.

Both rules give each candidate a turn and keep the earliest turn of each item. One
`tf.unique` over `(user << 32 | item row)` groups the candidates of the whole
batch, seen items included, so that nothing loops and nothing is sorted but by
scattering. Ties are broken by slot, then by rank within the slot.

Within one slot an item must occur once, and the candidates must be ordered by
falling score; every searcher in this package guarantees both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

#: Keys hold two int32 numbers in an int64.
_HALF = np.int64(32)


class Merged(NamedTuple):
    """One list per user, n being the longest that anyone of the batch gets.

    Attributes:
      row: `[batch, n]` int32 item rows, -1 pads.
      score: `[batch, n]` float32 score of the item in `slot`, 0 for pads.
      slot: `[batch, n]` int32 slot that brought the item, -1 pads.
      found_by: `[batch, n]` int64, bit s is set when slot s had the item among
        its first candidates that were looked at (`depth`), 0 for pads.
      count: `[batch]` int32 items that are not pads.
    """

    row: tf.Tensor
    score: tf.Tensor
    slot: tf.Tensor
    found_by: tf.Tensor
    count: tf.Tensor


def round_robin(
    rows: tf.Tensor,
    scores: tf.Tensor,
    budgets: tf.Tensor,
    n: tf.Tensor | int,
    seen: tf.Tensor | None = None,
    depth: tf.Tensor | int | None = None,
) -> Merged:
    """Takes one item from each slot in turn, within the budgets first.

    Round r offers each slot's r-th candidate. A slot whose budget is used up is
    left out; an item that another slot brought already uses up the turn. When
    all budgets are used and fewer than `n` items were found, the same rounds go
    on over what lies beyond the budgets.

    Args:
      rows: `[batch, slots, candidates]` int32 item rows, -1 where there is none.
      scores: the same shape, float32, falling along the last axis; not finite means
        no candidate.
      budgets: `[batch, slots]` int32.
      n: length of the merged list: one for all or `[batch]` int32.
      seen: `[batch, any]` int32 item rows that count as no candidates, -1 pads.
      depth: candidates of each slot that are looked at, seen ones not counted: one for
        all or `[batch]` int32; `n` when left out.
    """
    batch, slots, _ = tf.unstack(tf.shape(rows))
    limit, width = _lengths(n, batch)
    looked_at, deepest = _lengths(limit if depth is None else depth, batch)
    item = _items(rows, seen)
    rank, usable = _ranks(item.unseen & tf.math.is_finite(scores), looked_at)
    beyond = tf.cast(rank >= budgets[:, :, None], tf.int32)
    turn = (beyond * deepest + rank) * slots + tf.range(slots)[:, None]
    return _earliest(rows, scores, item, usable, turn, 2 * deepest * slots, (limit, width))


def best_score(
    rows: tf.Tensor,
    scores: tf.Tensor,
    n: tf.Tensor | int,
    seen: tf.Tensor | None = None,
    handicap: tf.Tensor | None = None,
    agreement: float = 0.0,
    lift: tf.Tensor | None = None,
) -> Merged:
    """Orders items by their best score over the slots, less a handicap that grows by rank.

    With `agreement` an item's scores in all the slots that found it count together, as
    `agreement * log(sum(exp(score / agreement)))`; an item of one slot keeps its score.

    With a handicap this is the greedy merge that takes, again and again, the item of the slot
    that stands highest now, a slot losing `handicap` with each of its candidates that had its
    turn: keys fall along a slot, so one sort of all keys gives the same order. With `agreement`
    they need not fall, and the order is that of the sort.

    Args:
      rows: `[batch, slots, candidates]` int32 item rows, -1 where there is none.
      scores: the same shape, float32, falling along the last axis; not finite means
        no candidate.
      n: length of the merged list: one for all or `[batch]` int32.
      seen: `[batch, any]` int32 item rows that count as no candidates, -1 pads.
      handicap: `[batch, slots]` float32 >= 0, score that a slot loses per unseen candidate
        before this one; None for none, then budgets play no part.
      agreement: temperature, 0 for the best score alone.
      lift: `[batch, slots, candidates]` float32, finite, added to the scores for the order
        alone; `scores` plus `lift` must fall along a slot then. None for none.
    """
    shape = tf.shape(rows)
    batch, slots, found = tf.unstack(shape)
    limit, width = _lengths(n, batch)
    item = _items(rows, seen)
    rank, usable = _ranks(item.unseen & tf.math.is_finite(scores), limit)
    span = slots * found
    key = scores
    if agreement:
        key += _agreement(scores, item, usable, agreement)
    if lift is not None:
        key += lift
    if handicap is not None:
        key -= handicap[:, :, None] * tf.cast(rank, scores.dtype)
    key = tf.where(usable, key, scores.dtype.min)
    order = tf.argsort(tf.reshape(key, [batch, span]), direction="DESCENDING", stable=True)
    cell = order + span * tf.range(batch)[:, None]
    places = tf.broadcast_to(tf.range(span), tf.shape(order))
    turn = tf.scatter_nd(tf.reshape(cell, [-1, 1]), tf.reshape(places, [-1]), [tf.size(rows)])
    return _earliest(rows, scores, item, usable, tf.reshape(turn, shape), span, (limit, width))


def unseen(rows: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    """Returns which candidates `[batch, slots, candidates]` are none of `[batch, any]`; no pads."""
    return _items(rows, seen).unseen


class _Items(NamedTuple):
    """Candidates grouped by user and item.

    Attributes:
      group: `[batch, slots, candidates]` int32; equal for the same item of a user.
      size: scalar int32, number of groups.
      unseen: the shape of `group`, bool; whether there is an item that was not seen.
    """

    group: tf.Tensor
    size: tf.Tensor
    unseen: tf.Tensor


def _items(rows: tf.Tensor, seen: tf.Tensor | None) -> _Items:
    shape = tf.shape(rows)
    user = tf.bitwise.left_shift(tf.range(shape[0], dtype=tf.int64), _HALF)
    # A row -1 makes every bit 1, whoever the user is: what is no item has one group, the first.
    keys = [tf.constant([-1], tf.int64)]
    if seen is not None:
        keys.append(tf.reshape(tf.bitwise.bitwise_or(user[:, None], tf.cast(seen, tf.int64)), [-1]))
    first = tf.add_n([tf.size(part) for part in keys])
    own = tf.bitwise.bitwise_or(user[:, None, None], tf.cast(rows, tf.int64))
    distinct, group = tf.unique(tf.concat([*keys, tf.reshape(own, [-1])], axis=0))
    left_out = tf.reduce_max(group[:first])  # groups are numbered as they come
    group = tf.reshape(group[first:], shape)
    return _Items(group, tf.size(distinct), group > left_out)


def _ranks(candidate: tf.Tensor, depth: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns each candidate's rank in its slot and whether that is within `[batch]` depth."""
    rank = tf.cumsum(tf.cast(candidate, tf.int32), axis=2, exclusive=True)
    return rank, candidate & (rank < depth[:, None, None])


def _agreement(scores: tf.Tensor, item: _Items, usable: tf.Tensor, temperature: float) -> tf.Tensor:
    """Returns by how much the log-sum-exp of an item's usable scores is above the best of them."""
    group = tf.reshape(item.group, [-1])
    kept = tf.reshape(tf.where(usable, scores, scores.dtype.min), [-1])
    best = tf.gather(tf.math.unsorted_segment_max(kept, group, item.size), group)
    total = tf.math.unsorted_segment_sum(tf.exp((kept - best) / temperature), group, item.size)
    return tf.reshape(temperature * tf.math.log(tf.gather(total, group)), tf.shape(scores))


def _lengths(n: tf.Tensor | int, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the length of each list, `[batch]` int32, and the longest."""
    n = tf.cast(n, tf.int32)
    longest = tf.reduce_max(tf.pad(tf.reshape(n, [-1]), [[0, 1]]))  # 0 where there is no list
    return tf.broadcast_to(n, [batch]), longest


def _earliest(
    rows: tf.Tensor,
    scores: tf.Tensor,
    item: _Items,
    usable: tf.Tensor,
    turn: tf.Tensor,
    span: tf.Tensor,
    n: tuple[tf.Tensor, tf.Tensor],
) -> Merged:
    """Takes each user's distinct items by their earliest turns.

    Args:
      rows: `[batch, slots, candidates]` int32.
      scores: the same shape, float32.
      item: groups of the candidates.
      usable: the same shape, bool.
      turn: the same shape, int32 below `span`, no two usable ones of a user alike.
      span: scalar int32.
      n: see `_lengths`.
    """
    (batch, slots, depth), (limit, width) = tf.unstack(tf.shape(rows)), n
    turns = batch * span
    # The earliest turn of each item and the candidate that has it, in one number; what can
    # not be used comes after all turns.
    turn = tf.where(usable, turn + span * tf.range(batch)[:, None, None], turns)
    turn = tf.bitwise.left_shift(tf.cast(tf.reshape(turn, [-1]), tf.int64), _HALF)
    group = tf.reshape(item.group, [-1])
    packed = turn + tf.range(tf.size(group), dtype=tf.int64)
    earliest = tf.math.unsorted_segment_min(packed, group, item.size)
    cell = tf.minimum(tf.bitwise.right_shift(earliest, _HALF), tf.cast(turns, tf.int64))
    candidate = tf.cast(tf.bitwise.bitwise_and(earliest, (1 << 32) - 1), tf.int32)
    # One cell per turn; read in order, the cells that are taken are the lists. Each has one
    # value, but the last, which is cut off; a sum costs a third of `scatter_nd`.
    cells = tf.math.unsorted_segment_sum(candidate + 1, cell, turns + 1)[:-1]
    taken = cells > 0
    in_order = tf.pad(tf.gather(cells, tf.where(taken)[:, 0]), [[0, 1]])
    taken = tf.reshape(taken, [batch, span])
    found = tf.reduce_sum(tf.cast(taken, tf.int32), axis=1)
    count = tf.minimum(found, limit)
    place = tf.range(width)
    pads = place >= count[:, None]
    start = tf.cumsum(found, exclusive=True)
    place = tf.where(pads, tf.size(in_order) - 1, place + start[:, None])
    candidate = tf.maximum(tf.gather(in_order, place) - 1, 0)
    slot = tf.range(slots, dtype=tf.int64)
    bit = tf.bitwise.left_shift(tf.ones_like(slot), slot)
    bits = tf.where(usable, bit[:, None], tf.zeros([], tf.int64))
    found_by = tf.math.unsorted_segment_sum(tf.reshape(bits, [-1]), group, item.size)

    def picked(values: tf.Tensor, pad: int) -> tf.Tensor:
        flat = tf.pad(tf.reshape(values, [-1]), [[0, 1]])  # something to take where all is empty
        return tf.where(pads, tf.cast(pad, values.dtype), tf.gather(flat, candidate))

    return Merged(
        row=picked(rows, -1),
        score=picked(scores, 0),
        slot=tf.where(pads, -1, candidate // tf.maximum(depth, 1) % tf.maximum(slots, 1)),
        found_by=tf.where(pads, tf.zeros([], tf.int64), tf.gather(found_by, picked(group, 0))),
        count=count,
    )
