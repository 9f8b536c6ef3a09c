"""Adaptive number of interests: how many of the K slots a user keeps."""

from __future__ import annotations

import tensorflow as tf

from trainer.config import ModelConfig
from trainer.interests.base import Interests


def adapt(config: ModelConfig, interests: Interests, valid: tf.Tensor) -> Interests:
    """Takes slots away from users who have less to tell apart.

    `fixed` changes nothing. `history_size` keeps the `max(1, min(K, floor(log2(n))))`
    valid slots of largest mass, n being the valid items of the history (MIND's rule).
    `cluster_mass` keeps the slots that hold at least `adaptive_min_mass_share` of the
    mass; the largest one always stays.

    Args:
      config: the model.
      interests: what an extractor made of a batch of histories.
      valid: [batch, length] bool, valid items of the histories.

    Returns:
      The same conditions; a slot that is dropped is not valid, has no mass, and its items
      feed no slot.
    """
    if config.adaptive_interests == "fixed":
        return interests
    mass = tf.where(interests.slot_valid, interests.mass, -1.0)  # [B, K]
    rank = tf.argsort(tf.argsort(mass, axis=1, direction="DESCENDING", stable=True), axis=1)
    if config.adaptive_interests == "history_size":
        items = tf.reduce_sum(tf.cast(valid, tf.int64), axis=1, keepdims=True)
        enough = rank < _slots_for(items, config.num_interests)
    else:
        total = tf.reduce_sum(tf.maximum(mass, 0.0), axis=1, keepdims=True)
        enough = mass >= config.adaptive_min_mass_share * total
    kept = tf.logical_and(interests.slot_valid, tf.logical_or(enough, rank == 0))
    slot = interests.history_slot
    feeds = tf.logical_and(slot >= 0, tf.gather(kept, tf.maximum(slot, 0), batch_dims=1))
    return Interests(
        interests.conditions,
        kept,
        tf.where(kept, interests.mass, 0.0),
        tf.where(feeds, slot, -1),
    )


def _slots_for(items: tf.Tensor, slots: int) -> tf.Tensor:
    """`max(1, min(slots, floor(log2(items))))`, exact on integers; int32 of the same shape."""
    powers = tf.constant([2**exponent for exponent in range(2, min(slots, 62) + 1)], tf.int64)
    return 1 + tf.reduce_sum(tf.cast(items >= powers, tf.int32), axis=-1, keepdims=True)
