"""Exploration: a share of each list for new items, which little is known of yet.

A request draws some of the newest items at random, seeded by what it says, so that equal requests
get equal lists; the best of the drawn ones take turns with the merged list at even distances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from trainer import features
from trainer.retrieval.merge import Merged
from trainer.retrieval.search import Searcher, take_rows

#: New items that are drawn for each that is shown, and the fewest that are drawn.
_DRAWN_PER_PLACE, _DRAWN_MIN = 8, 32


class Explorer(tf.Module):
    """Gives a share of each list to new items."""

    def __init__(self, newest: np.ndarray, share: float) -> None:
        """Keeps the new items.

        Args:
          newest: `[some]` int32 rows of the items that count as new, the newest first; not empty.
          share: of each list, 0 to 1.
        """
        super().__init__(name="explorer")
        self._size = _prime_up_to(len(newest))
        self.newest = tf.Variable(newest[: self._size].astype(np.int32), trainable=False)
        self._share = share

    def mixed(
        self, merged: Merged, wanted: Any, user: dict[str, tf.Tensor], selector: Any
    ) -> tuple[Merged, tf.Tensor]:
        """Returns the lists with new items among them, and which ones those are.

        Args:
          merged: the lists.
          wanted: `selection.Wanted` of the request.
          user: inputs of the request, `user_id` among them.
          selector: `selection.Selector`, for vectors and filters.

        Returns:
          The lists, as wide as before, and `[batch, n]` bool.
        """
        places = tf.cast(self._share * tf.cast(wanted.limit, tf.float32) + 0.5, tf.int32)
        most = tf.reduce_max(tf.pad(places, [[0, 1]]))
        drawn = self._live(self._drawn(user, most), selector)
        drawn = self._allowed(drawn, wanted, selector)
        drawn = _without(drawn, tf.concat([wanted.not_brought(), merged.row], axis=1))
        slot, score = _best_slot(drawn, wanted, selector.searcher)
        best, order = tf.math.top_k(score, tf.minimum(most, tf.shape(drawn)[1]))
        found = tf.reduce_sum(tf.cast(tf.math.is_finite(best), tf.int32), axis=1)
        found = tf.minimum(found, places)
        slot = tf.gather(slot, order, batch_dims=1)
        new = Merged(
            row=tf.gather(drawn, order, batch_dims=1),
            score=best,
            slot=slot,
            found_by=tf.bitwise.left_shift(tf.ones_like(slot, tf.int64), tf.cast(slot, tf.int64)),
            count=found,
        )
        kept = tf.minimum(merged.count, wanted.limit - found)
        return _in_turn(merged._replace(count=kept), new)

    def _drawn(self, user: dict[str, tf.Tensor], most: tf.Tensor) -> tf.Tensor:
        """Returns rows of new items, `[batch, some]`, no two of a user alike."""
        said = tf.strings.join(
            [
                user[features.USER_ID],
                tf.as_string(user[features.TIMESTAMP]),
                tf.strings.reduce_join(user[features.HISTORY_ITEM_ID], axis=1, separator=","),
            ],
            separator="|",
        )
        seed = tf.strings.to_hash_bucket_fast(said, 1 << 62)
        # Modulo a prime, steps of any length visit every place once.
        steps = max(self._size - 1, 1)
        step, start = 1 + seed % steps, seed // steps % self._size
        # Not all of a small part: the best of all would be the same for every request.
        few = tf.maximum(self._size // 2, tf.minimum(most, self._size))
        count = tf.minimum(_DRAWN_PER_PLACE * most + _DRAWN_MIN, few)
        place = start[:, None] + step[:, None] * tf.range(tf.cast(count, tf.int64))[None, :]
        return tf.gather(self.newest, place % self._size)

    @staticmethod
    def _live(drawn: tf.Tensor, selector: Any) -> tf.Tensor:
        """Returns the drawn rows, -1 for items that a delta withdrew or changed."""
        delta = getattr(selector.searcher, "delta", None)
        if delta is None:
            return drawn
        return tf.where(take_rows(delta.live, drawn), drawn, -tf.ones_like(drawn))

    @staticmethod
    def _allowed(drawn: tf.Tensor, wanted: Any, selector: Any) -> tf.Tensor:
        """Returns the drawn rows that the request's filters allow, -1 for others."""
        if wanted.asked is None:
            return drawn

        def search(where: tf.Tensor, allowed: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
            rows = tf.gather_nd(drawn, where)
            if allowed is not None:
                there = (rows >= 0) & tf.gather(allowed, tf.maximum(rows, 0))
                rows = tf.where(there, rows, -tf.ones_like(rows))
            return rows, tf.zeros_like(rows, tf.float32)

        return selector.item_filters.searched(wanted.asked, search, 2)[0]


def newest_rows(created_at: np.ndarray, share: float) -> np.ndarray:
    """Returns the rows of the newest items, the newest first, equal ones in catalogue order.

    Args:
      created_at: `[items]` float64, NaN for items that do not say.
      share: of the catalogue, above 0; one item at least, where any says.
    """
    known = np.flatnonzero(~np.isnan(created_at))
    order = known[np.argsort(-created_at[known], kind="stable")]
    return order[: max(1, int(share * len(created_at)))].astype(np.int32)


def _prime_up_to(number: int) -> int:
    """Returns the largest prime up to a number, or 1."""
    return next(
        (n for n in range(number, 1, -1) if all(n % d for d in range(2, int(n**0.5) + 1))), 1
    )


def _without(rows: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    there = tf.reduce_any(tf.equal(rows[:, :, None], others[:, None, :]), axis=2)
    return tf.where(there, -tf.ones_like(rows), rows)


def _best_slot(rows: tf.Tensor, wanted: Any, searcher: Searcher) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the nearest slot of each item and its score, `[batch, some]`; -inf for none."""
    vectors = searcher.vectors(tf.maximum(rows, 0))
    scores = tf.einsum("bsd,bid->bis", wanted.vectors, vectors)
    usable = wanted.valid[:, None, :] & (rows >= 0)[:, :, None]
    scores = tf.where(usable, scores, tf.fill(tf.shape(scores), np.float32(-np.inf)))
    return tf.argmax(scores, axis=2, output_type=tf.int32), tf.reduce_max(scores, axis=2)


def _in_turn(merged: Merged, new: Merged) -> tuple[Merged, tf.Tensor]:
    """Spreads the new items evenly over the lists."""
    width = tf.shape(merged.row)[1]
    order = tf.argsort(tf.concat([_places(merged), _places(new)], axis=1), stable=True)
    order = order[:, :width]
    count = merged.count + new.count
    there = tf.sequence_mask(count, width)

    def mixed(name: str, pad: int) -> tf.Tensor:
        both = tf.concat([getattr(merged, name), getattr(new, name)], axis=1)
        values = tf.gather(both, order, batch_dims=1)
        return tf.where(there, values, tf.cast(pad, values.dtype))

    pads = {"row": -1, "score": 0, "slot": -1, "found_by": 0}
    lists = {name: mixed(name, pad) for name, pad in pads.items()}
    return Merged(**lists, count=count), there & (order >= width)


def _places(lists: Merged) -> tf.Tensor:
    """Returns where items stand in lists of length 1, beyond 1 for what is left out."""
    width = tf.shape(lists.row)[1]
    place = (tf.range(width, dtype=tf.float32) + 0.5)[None, :]
    place /= tf.cast(tf.maximum(lists.count, 1), tf.float32)[:, None]
    return tf.where(tf.sequence_mask(lists.count, width), place, 2.0 + place)
