"""Merge of the slots' candidate lists into one list without duplicates.

Both rules order a user's candidates and keep the first occurrence of each
item; one `tf.unique` over `(user << 32 | item row)` does that for the whole
batch, without a loop. Ties are broken by slot, then by rank within the slot.

Within one slot an item must occur once, and the candidates must be ordered by
falling score; every searcher in this package guarantees both.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

#: `found_by` holds one bit per slot in an int64 whose sign bit stays free.
MAX_SLOTS = 62


class Merged(NamedTuple):
    """One list per user, n being the longest that anyone of the batch gets.

    Attributes:
      row: `[batch, n]` int32 item rows, -1 pads.
      score: `[batch, n]` float32 score of the item in `slot`, 0 for pads.
      slot: `[batch, n]` int32 slot that brought the item, -1 pads.
      found_by: `[batch, n]` int64, bit s is set when slot s had the item among
        its first n candidates, 0 for pads.
      count: `[batch]` int32 items that are not pads.
    """

    row: tf.Tensor
    score: tf.Tensor
    slot: tf.Tensor
    found_by: tf.Tensor
    count: tf.Tensor


def candidate_ranks(rows: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns which candidates count and their rank among those of their slot.

    Args:
      rows: `[batch, slots, candidates]` int32, -1 where there is none.
      scores: the same shape, float32; not finite means no candidate.

    Returns:
      `(usable, rank)`: bool and int32, both of the shape of `rows`.
    """
    usable = (rows >= 0) & tf.math.is_finite(scores)
    rank = tf.cumsum(tf.cast(usable, tf.int32), axis=2, exclusive=True)
    return usable, rank


def round_robin(
    rows: tf.Tensor, scores: tf.Tensor, budgets: tf.Tensor, n: tf.Tensor | int
) -> Merged:
    """Takes one item from each slot in turn, within the budgets first.

    Round r offers each slot's r-th candidate. A slot whose budget is used up is
    left out; an item that another slot brought already uses up the turn. When
    all budgets are used and fewer than `n` items were found, the same rounds go
    on over what lies beyond the budgets.

    Args:
      rows: `[batch, slots, candidates]` int32 item rows, -1 where there is none.
      scores: the same shape, float32, falling along the last axis.
      budgets: `[batch, slots]` int32.
      n: length of the merged list: one for all or `[batch]` int32.
    """
    usable, rank = candidate_ranks(rows, scores)
    shape = tf.shape(rows)
    limit, width = _lengths(n, shape[0])
    usable &= rank < limit[:, None, None]  # what comes later can not reach the list
    batch, slots, depth = shape[0], shape[1], shape[2]
    overflow = tf.cast(rank >= budgets[:, :, None], tf.int32)
    where = tf.where(usable)  # [usable, 3]: user, slot, position
    user = tf.cast(where[:, 0], tf.int32)
    slot = tf.cast(where[:, 1], tf.int32)
    chosen = tf.boolean_mask(rank, usable)
    phase = tf.boolean_mask(overflow, usable)
    # One cell per (user, phase, round, slot); read in order, the cells are the turns.
    cell = ((user * 2 + phase) * depth + chosen) * slots + slot
    cells = tf.scatter_nd(
        cell[:, None], tf.range(1, tf.shape(cell)[0] + 1), [batch * 2 * depth * slots]
    )
    turns = tf.boolean_mask(cells, cells > 0) - 1
    return _first_occurrences(
        tf.gather(user, turns),
        tf.gather(slot, turns),
        tf.gather(tf.boolean_mask(rows, usable), turns),
        tf.gather(tf.boolean_mask(scores, usable), turns),
        limit,
        width,
    )


def best_score(rows: tf.Tensor, scores: tf.Tensor, n: tf.Tensor | int) -> Merged:
    """Orders items by their best score over the slots; budgets play no part.

    Args:
      rows: `[batch, slots, candidates]` int32 item rows, -1 where there is none.
      scores: the same shape, float32, falling along the last axis.
      n: length of the merged list: one for all or `[batch]` int32.
    """
    usable, rank = candidate_ranks(rows, scores)
    shape = tf.shape(rows)
    limit, width = _lengths(n, shape[0])
    usable &= rank < limit[:, None, None]
    batch, slots, depth = shape[0], shape[1], shape[2]
    flat = [batch, slots * depth]
    key = tf.reshape(tf.where(usable, scores, tf.fill(shape, scores.dtype.min)), flat)
    order = tf.argsort(key, axis=1, direction="DESCENDING", stable=True)
    kept = tf.gather(tf.reshape(usable, flat), order, batch_dims=1)
    user = tf.cast(tf.where(kept)[:, 0], tf.int32)
    position = tf.boolean_mask(order, kept)
    source = user * slots * depth + position
    return _first_occurrences(
        user,
        position // tf.maximum(depth, 1),
        tf.gather(tf.reshape(rows, [-1]), source),
        tf.gather(tf.reshape(scores, [-1]), source),
        limit,
        width,
    )


def _lengths(n: tf.Tensor | int, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the length of each list, `[batch]` int32, and the longest."""
    n = tf.cast(n, tf.int32)
    longest = tf.reduce_max(tf.pad(tf.reshape(n, [-1]), [[0, 1]]))  # 0 where there is no list
    return tf.broadcast_to(n, [batch]), longest


def _first_occurrences(
    user: tf.Tensor,
    slot: tf.Tensor,
    row: tf.Tensor,
    score: tf.Tensor,
    limit: tf.Tensor,
    width: tf.Tensor,
) -> Merged:
    """Keeps each user's first `limit` distinct items of candidates sorted by user and turn."""
    batch = tf.size(limit)
    key = tf.bitwise.bitwise_or(
        tf.bitwise.left_shift(tf.cast(user, tf.int64), tf.constant(32, tf.int64)),
        tf.cast(row, tf.int64),
    )
    # tf.unique keeps the order of first occurrence, so `distinct` is sorted by user and turn.
    distinct, group = tf.unique(key)
    size = tf.shape(distinct)[0]
    first = tf.math.unsorted_segment_min(tf.range(tf.shape(key)[0]), group, size)
    bit = tf.bitwise.left_shift(tf.ones_like(key), tf.cast(slot, tf.int64))
    found_by = tf.math.unsorted_segment_sum(bit, group, size)
    owner = tf.gather(user, first)
    found = tf.math.unsorted_segment_sum(tf.ones_like(owner), owner, batch)
    place = tf.range(size) - tf.gather(tf.cumsum(found, exclusive=True), owner)
    kept = place < tf.gather(limit, owner)
    target = tf.stack([tf.boolean_mask(owner, kept), tf.boolean_mask(place, kept)], axis=1)
    first = tf.boolean_mask(first, kept)

    def spread(values: tf.Tensor, pad: int) -> tf.Tensor:
        canvas = tf.fill([batch, width], tf.cast(pad, values.dtype))
        return tf.tensor_scatter_nd_update(canvas, target, values)

    return Merged(
        row=spread(tf.gather(row, first), -1),
        score=spread(tf.gather(score, first), 0),
        slot=spread(tf.gather(slot, first), -1),
        found_by=spread(tf.boolean_mask(found_by, kept), 0),
        count=tf.minimum(found, limit),
    )
