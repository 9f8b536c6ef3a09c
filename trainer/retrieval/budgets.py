"""How many of the N results each slot may bring, vectorised over the batch."""

from __future__ import annotations

import tensorflow as tf

IMPLICIT = 0
EXPLICIT = 1
#: Of an item that was brought to explore; its slot is the one that it is nearest to.
EXPLORED = 2
#: Of an item that neighbours of the history brought; its slot is the nearest implicit one.
NEIGHBOUR = 3
#: Remainders that differ by less are equal.
_ROUNDING = 2.0**-30


def largest_remainder(weights: tf.Tensor, totals: tf.Tensor) -> tf.Tensor:
    """Divides whole numbers in proportion to weights (Hamilton's method).

    Args:
      weights: `[batch, slots]` float, any scale; values that are not finite or
        not above 0 count as 0.
      totals: `[batch]` int32, what each row divides.

    Returns:
      `[batch, slots]` int32. A row sums to its total, or to 0 when it has no
      weight above 0. Equal remainders go to the lower slot.
    """
    weights = tf.cast(weights, tf.float64)
    usable = tf.math.is_finite(weights) & (weights > 0.0)
    weights = tf.where(usable, weights, tf.zeros_like(weights))
    # Scaled first, so that huge weights do not add up to infinity.
    weights = tf.math.divide_no_nan(weights, tf.reduce_max(weights, axis=1, keepdims=True))
    weight_sum = tf.reduce_sum(weights, axis=1, keepdims=True)
    quota = tf.math.divide_no_nan(weights, weight_sum) * tf.cast(totals, tf.float64)[:, None]
    # Equal remainders are so whatever the rounding of the division.
    whole = tf.floor(quota + _ROUNDING)
    left = tf.cast(totals, tf.float64)[:, None] - tf.reduce_sum(whole, axis=1, keepdims=True)
    left = tf.where(weight_sum > 0.0, left, tf.zeros_like(left))
    # Slots without weight come after every slot with weight.
    remainder = tf.round((quota - whole) / _ROUNDING)
    remainder = tf.where(weights > 0.0, remainder, -tf.ones_like(quota))
    other, own = remainder[:, None, :], remainder[:, :, None]
    slot = tf.range(tf.shape(remainder)[1])
    ahead = (other > own) | (tf.equal(other, own) & (slot[None, :] < slot[:, None]))
    rank = tf.reduce_sum(tf.cast(ahead, tf.float64), axis=2)  # [batch, slots]
    extra = tf.cast(rank < left, tf.int32)
    return tf.cast(whole, tf.int32) + extra


def slot_budgets(
    mass: tf.Tensor,
    valid: tf.Tensor,
    kind: tf.Tensor,
    total: tf.Tensor | int,
    explicit_share: float,
) -> tf.Tensor:
    """Returns each slot's share of the merged list.

    Followed topics together get `explicit_share` of `total`, each the same;
    the rest goes to the implicit slots in proportion to their routing mass
    (paper 3.5). Where one kind has no valid slot, the other gets everything.

    Args:
      mass: `[batch, slots]` float, routing mass of the implicit slots.
      valid: `[batch, slots]` bool.
      kind: `[batch, slots]` int32, `IMPLICIT` or `EXPLICIT`.
      total: number of merged items, N: one for all or `[batch]` int32.
      explicit_share: share of N for followed topics, 0 to 1.

    Returns:
      `[batch, slots]` int32; a row sums to `total` unless no slot is valid.
    """
    explicit = valid & tf.equal(kind, EXPLICIT)
    implicit = valid & tf.equal(kind, IMPLICIT)
    has_explicit = tf.reduce_any(explicit, axis=1)  # [batch]
    has_implicit = tf.reduce_any(implicit, axis=1)
    total = tf.broadcast_to(tf.cast(total, tf.int32), tf.shape(valid)[:1])
    shared = tf.cast(tf.cast(total, tf.float64) * explicit_share + 0.5, tf.int32)
    share = tf.where(has_implicit, shared, total)
    explicit_total = tf.where(has_explicit, share, tf.zeros_like(share))
    weight = tf.where(implicit, tf.cast(mass, tf.float64), tf.zeros_like(mass, dtype=tf.float64))
    usable = tf.math.is_finite(weight) & (weight > 0.0)
    no_mass = ~tf.reduce_any(usable, axis=1, keepdims=True)
    weight = tf.where(no_mass, tf.cast(implicit, tf.float64), weight)
    return largest_remainder(weight, total - explicit_total) + _equal_parts(
        explicit, explicit_total
    )


def _equal_parts(valid: tf.Tensor, totals: tf.Tensor) -> tf.Tensor:
    """Divides `[batch]` totals evenly over the valid slots; what is left goes to the lower ones."""
    ones = tf.cast(valid, tf.int32)
    parts = tf.maximum(tf.reduce_sum(ones, axis=1), 1)
    rank = tf.cumsum(ones, axis=1, exclusive=True)
    extra = tf.cast(rank < (totals % parts)[:, None], tf.int32)
    return ones * ((totals // parts)[:, None] + extra)
