"""Items that the same users engaged with: candidates and scores beside those of the slots.

An embedding of some dozens of numbers forgets which single items go together. A sparse table
keeps that: for each item its strongest neighbours with a weight each. The rows of a user's
history add up to a score per item; what the slots found is lifted by it, and the best of what
they did not find joins them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainer.retrieval import merge
from trainer.retrieval.budgets import IMPLICIT
from trainer.retrieval.search import take_rows

#: Keys hold two int32 numbers in an int64.
_HALF = np.int64(32)
_LOW = np.int64((1 << 32) - 1)


class NeighbourTable(NamedTuple):
    """Neighbours of each item.

    Attributes:
      starts: `[items + 1]` int32, where the neighbours of each item begin.
      rows: `[entries]` int32 item rows, no item its own neighbour.
      values: `[entries]` float32 > 0.
      weight: score that a user's best neighbour gains over an item that is none.
    """

    starts: np.ndarray
    rows: np.ndarray
    values: np.ndarray
    weight: float


class _Entries(NamedTuple):
    """Neighbours of the items of some users, user by user.

    Attributes:
      key: `[entries]` int64, user and row of the neighbour.
      value: `[entries]` float32.
      place: `[entries]` int64, place in the history of the item whose neighbour it is.
    """

    key: tf.Tensor
    value: tf.Tensor
    place: tf.Tensor


class _Offers(NamedTuple):
    """What the neighbours say.

    Attributes:
      found: `[batch, slots, candidates]` bool, what the slots found: their first unseen ones,
        as many as are wanted, whoever else is in the batch.
      lift: the same shape, float32, for those.
      rows: `[batch, candidates]` int32, the best of what they did not find, -1 pads.
      own_lift: the same shape, float32, for those.
    """

    found: tf.Tensor
    lift: tf.Tensor
    rows: tf.Tensor
    own_lift: tf.Tensor


class Neighbours(tf.Module):
    """Brings the neighbours of a user's history into the merge."""

    def __init__(self, table: NeighbourTable) -> None:
        """Loads the table into variables."""
        super().__init__(name="neighbours")
        self.items = len(table.starts) - 1
        self.weight = table.weight
        self.starts = tf.Variable(np.asarray(table.starts, np.int32), trainable=False)
        self.rows = tf.Variable(np.asarray(table.rows, np.int32), trainable=False)
        self.values = tf.Variable(np.asarray(table.values, np.float32), trainable=False)

    def merged(
        self,
        wanted: Any,
        rows: tf.Tensor,
        scores: tf.Tensor,
        handicap: tf.Tensor | None,
        agreement: float,
        selector: Any,
    ) -> merge.Merged:
        """Merges the slots' candidates and the neighbours by score.

        Args:
          wanted: `selection.SearchedSlots` with the history in `sources`.
          rows: `[batch, slots, candidates]` int32, see `merge.best_score`.
          scores: the same shape, float32.
          handicap: see `merge.best_score`.
          agreement: likewise.
          selector: `selection.Selector`, for vectors and filters.

        Returns:
          The lists; scores are those of the slots alone. An item that neighbours brought has
          the implicit slot that it is nearest to and 0 for `found_by`.
        """
        slots, depth = tf.shape(rows)[1], tf.shape(rows)[2]
        if handicap is None:
            handicap = tf.zeros(tf.shape(rows)[:2], tf.float32)
        offers = self._offers(wanted, rows, scores, selector)
        scores = tf.where(offers.found, scores, np.float32(-np.inf))
        lifted, order = tf.math.top_k(scores + offers.lift, depth)  # stable
        rows, scores = (tf.gather(each, order, batch_dims=2) for each in (rows, scores))
        slot, score = _nearest(offers.rows, wanted, selector.searcher)
        total = score + offers.own_lift
        # An item's handicap is the one that it had in the list of its slot.
        ahead = tf.gather(lifted, slot, batch_dims=1) > total[:, :, None]
        rank = tf.reduce_sum(tf.cast(ahead, tf.float32), axis=2)
        late = tf.gather(handicap, slot, batch_dims=1) * rank
        own_lift = tf.where(tf.math.is_finite(total), offers.own_lift - late, 0.0)
        lift = tf.where(tf.math.is_finite(lifted), lifted - scores, 0.0)
        found = merge.best_score(
            tf.concat([rows, offers.rows[:, None]], axis=1),
            tf.concat([scores, score[:, None]], axis=1),
            wanted.limit,
            wanted.not_brought(),
            tf.pad(handicap, [[0, 0], [0, 1]]),
            agreement,
            tf.concat([lift, own_lift[:, None]], axis=1),
        )
        same = tf.equal(found.row[:, :, None], offers.rows[:, None, :])
        place = tf.argmax(tf.cast(same, tf.int8), axis=2, output_type=tf.int32)
        nearest = tf.gather(tf.pad(slot, [[0, 0], [0, 1]]), place, batch_dims=1)
        brought = tf.equal(found.slot, slots)
        return found._replace(
            slot=tf.where(brought, nearest, found.slot),
            found_by=tf.where(brought, tf.zeros_like(found.found_by), found.found_by),
        )

    def _offers(self, wanted: Any, rows: tf.Tensor, scores: tf.Tensor, selector: Any) -> _Offers:
        batch, depth = tf.shape(rows)[0], tf.shape(rows)[2]
        entries = self._entries(wanted)
        parts = [entries.key, _keys(wanted.not_brought()), _keys(rows)]
        distinct, group = tf.unique(tf.concat(parts, axis=0))
        size = tf.size(distinct)
        of_entry, of_gone, of_slot = tf.split(group, [tf.size(part) for part in parts])
        total = tf.math.unsorted_segment_sum(entries.value, of_entry, size)
        gone = tf.math.unsorted_segment_sum(tf.ones_like(of_gone), of_gone, size) > 0
        total = tf.where(gone, 0.0, total)
        unseen = ~tf.gather(gone, tf.reshape(of_slot, tf.shape(rows)))
        offered = (rows >= 0) & unseen & tf.math.is_finite(scores)
        rank = tf.cumsum(tf.cast(offered, tf.int32), axis=2, exclusive=True)
        offered &= rank < wanted.limit[:, None, None]
        # Groups are numbered as they come: first those of entries, user by user.
        own = tf.reduce_max(tf.pad(of_entry + 1, [[0, 1]]))
        key, total = distinct[:own], total[:own]
        user = tf.cast(tf.bitwise.right_shift(key, _HALF), tf.int32)
        peak = tf.math.unsorted_segment_max(total, user, batch)
        share = self.weight * tf.math.divide_no_nan(total, tf.gather(peak, user))
        lift = tf.gather(tf.pad(share, [[0, size - own]]), tf.reshape(of_slot, tf.shape(rows)))
        times = tf.cast(tf.reshape(offered, [-1]), tf.int32)
        known = tf.math.unsorted_segment_sum(times, of_slot, size)[:own] > 0
        further = tf.where(known, 0.0, share)
        row = tf.cast(tf.bitwise.bitwise_and(key, _LOW), tf.int32)
        found, values = (
            tf.RaggedTensor.from_value_rowids(
                each, user, tf.cast(batch, user.dtype), validate=False
            ).to_tensor()
            for each in (row, further)
        )
        found = permitted(tf.where(values > 0.0, found, -1), wanted, selector)
        values = tf.where(found >= 0, values, 0.0)
        best, order = tf.math.top_k(values, tf.minimum(depth, tf.shape(values)[1]))
        missing = [[0, 0], [0, depth - tf.shape(best)[1]]]
        found = tf.pad(tf.gather(found, order, batch_dims=1), missing, constant_values=-1)
        return _Offers(offered, lift, found, tf.pad(best, missing))

    def sources(self, wanted: Any, rows: tf.Tensor) -> tf.Tensor:
        """Returns the place in the history of the item that says most for each item.

        Args:
          wanted: `selection.SearchedSlots` with the history in `sources`.
          rows: `[batch, n]` int32, -1 for items that are not asked for.

        Returns:
          `[batch, n]` int32, -1 for items that are no neighbours.
        """
        entries = self._entries(wanted)
        distinct, group = tf.unique(tf.concat([entries.key, _keys(rows)], axis=0))
        of_entry, of_row = tf.split(group, [tf.size(entries.key), tf.size(rows)])
        # Positive floats are in the order of their bits; of equal ones the newest counts.
        value = tf.cast(tf.bitcast(entries.value, tf.int32), tf.int64)
        packed = tf.bitwise.left_shift(value, _HALF) + _LOW - entries.place
        best = tf.math.unsorted_segment_max(packed, of_entry, tf.size(distinct))
        best = tf.reshape(tf.gather(best, of_row), tf.shape(rows))
        place = tf.cast(_LOW - tf.bitwise.bitwise_and(best, _LOW), tf.int32)
        return tf.where((best >= 0) & (rows >= 0), place, -1)

    def _entries(self, wanted: Any) -> _Entries:
        known = (wanted.sources >= 0) & (wanted.sources < self.items)
        where = tf.where(known)
        source = tf.boolean_mask(wanted.sources, known)
        spans = tf.ragged.range(tf.gather(self.starts, source), tf.gather(self.starts, source + 1))
        event = tf.gather(where, spans.value_rowids())
        row = tf.cast(tf.gather(self.rows, spans.flat_values), tf.int64)
        key = tf.bitwise.bitwise_or(tf.bitwise.left_shift(event[:, 0], _HALF), row)
        return _Entries(key, tf.gather(self.values, spans.flat_values), event[:, 1])


def permitted(rows: tf.Tensor, wanted: Any, selector: Any) -> tf.Tensor:
    """Returns `[batch, some]` rows, -1 for what a delta withdrew or the request leaves out.

    Args:
      rows: int32 of that shape, -1 pads.
      wanted: `selection.SearchedSlots`.
      selector: `selection.Selector`.
    """
    delta = getattr(selector.searcher, "delta", None)
    if delta is not None:
        rows = tf.where((rows >= 0) & take_rows(delta.live, tf.maximum(rows, 0)), rows, -1)
    if wanted.asked is None or selector.item_filters is None:
        return rows

    def search(where: tf.Tensor, allowed: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        own = tf.gather_nd(rows, where)
        if allowed is not None:
            own = tf.where((own >= 0) & tf.gather(allowed, tf.maximum(own, 0)), own, -1)
        return own, tf.zeros_like(own, tf.float32)

    return selector.item_filters.searched(wanted.asked, search, 2)[0]


def _nearest(rows: tf.Tensor, wanted: Any, searcher: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the best implicit slot of each item and its score, -inf for none."""
    vectors = searcher.vectors(tf.maximum(rows, 0))
    scores = tf.einsum("bsd,bid->bis", wanted.vectors, vectors)
    implicit = wanted.valid & tf.equal(wanted.kind, IMPLICIT)
    usable = implicit[:, None, :] & (rows >= 0)[:, :, None]
    scores = tf.where(usable, scores, np.float32(-np.inf))
    return tf.argmax(scores, axis=2, output_type=tf.int32), tf.reduce_max(scores, axis=2)


def _keys(rows: tf.Tensor) -> tf.Tensor:
    """Returns user and row of each cell of `[batch, ...]` as one number, flat; -1 for none."""
    batch = tf.shape(rows)[0]
    user = tf.bitwise.left_shift(tf.range(batch, dtype=tf.int64), _HALF)
    flat = tf.cast(
        tf.reshape(rows, tf.stack([batch, tf.reduce_prod(tf.shape(rows)[1:])])), tf.int64
    )
    return tf.reshape(tf.bitwise.bitwise_or(user[:, None], flat), [-1])
