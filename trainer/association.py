"""Which of a user's embeddings a positive item trains (paper Eq. 8) and its alternatives."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from trainer import randomness
from trainer.interests.base import MASKED

#: The rules of `model.association`.
Association = Literal["best_slot", "argmax", "gumbel", "label_aware"]


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


def gumbel_embedding(
    users: tf.Tensor, logits: tf.Tensor, temperature: float, seed: tf.Tensor | None
) -> tf.Tensor:
    """Straight-through Gumbel-softmax over the slots (paper 3.3, for learned heads).

    Forward, one slot is drawn with probability softmax(logits); backward, the gradient is
    that of the softmax of the noisy logits, so that every valid slot learns.

    Args:
      users: [batch, slots, dim] float32.
      logits: [batch, slots] float32, the target's logit under each slot, a large negative
        number for invalid slots.
      temperature: of the softmax; small values make its gradient one-sided.
      seed: [2] int32 randomness of this training step; None for no noise.

    Returns:
      [batch, dim] float32.
    """
    if seed is not None:
        uniform = tf.random.stateless_uniform(
            tf.shape(logits), randomness.salted(seed, randomness.GUMBEL), minval=1e-7
        )
        logits -= tf.math.log(-tf.math.log(uniform))
    soft = tf.nn.softmax(logits / temperature, axis=1)
    drawn = tf.one_hot(tf.argmax(logits, axis=1), tf.shape(logits)[1])
    return tf.linalg.matvec(users, soft + tf.stop_gradient(drawn - soft), transpose_a=True)


def label_aware_embedding(users: tf.Tensor, scores: tf.Tensor, power: float) -> tf.Tensor:
    """Label-aware attention (MIND, Eq. 8): slots weighted by their score with the target.

    MIND raises positive logits to a power before the softmax. Scores of normalised vectors
    are cosines, which may be negative, so the power multiplies them here: 0 still weighs
    all valid slots alike, and a large power chooses the best one.

    Args:
      users: [batch, slots, dim] float32.
      scores: [batch, slots] float32, from `slot_scores`.
      power: >= 0.

    Returns:
      [batch, dim] float32.
    """
    # Masked again after the product: a power of 0 would take the mask away.
    sharpened = tf.where(scores > MASKED / 2, scores * power, MASKED)
    return tf.linalg.matvec(users, tf.nn.softmax(sharpened, axis=1), transpose_a=True)


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
