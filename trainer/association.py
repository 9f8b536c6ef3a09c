"""Which of a user's embeddings a positive item trains (paper Eq. 8)."""

from __future__ import annotations

import tensorflow as tf

from trainer.interests.base import MASKED


def slot_scores(users: tf.Tensor, slot_valid: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Scores each slot of a user with the user's own target.

    Args:
      users: [batch, slots, dim] float32.
      slot_valid: [batch, slots] bool.
      targets: [batch, dim] float32.

    Returns:
      [batch, slots] float32, a large negative number for invalid slots.
    """
    return tf.where(slot_valid, tf.linalg.matvec(users, targets), MASKED)


def chosen_embedding(users: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """Gathers the embedding of the best slot; the gradient reaches that slot alone (Eq. 8).

    Args:
      users: [batch, slots, dim] float32.
      scores: [batch, slots] float32, from `slot_scores`.

    Returns:
      [batch, dim] float32.
    """
    best = tf.argmax(scores, axis=1, output_type=tf.int32)
    return tf.gather(users, best, batch_dims=1)


def best_slot_scores(users: tf.Tensor, slot_valid: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """Scores shared candidates by the best valid slot of each user.

    Args:
      users: [batch, slots, dim] float32.
      slot_valid: [batch, slots] bool; each row needs at least one True.
      candidates: [candidates, dim] float32.

    Returns:
      [batch, candidates] float32.
    """
    batch, slots, dim = tf.unstack(tf.shape(users))
    flat = tf.matmul(tf.reshape(users, [batch * slots, dim]), candidates, transpose_b=True)
    scores = tf.reshape(flat, [batch, slots, tf.shape(candidates)[0]])  # [B, S, C]
    return tf.reduce_max(tf.where(slot_valid[:, :, tf.newaxis], scores, MASKED), axis=1)
