"""Which of a user's embeddings a positive item trains (paper Eq. 8) and its alternatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import tensorflow as tf

from trainer import randomness
from trainer.interests.base import MASKED, first_valid

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
    # Not a batched product: many tiny matrices cost far more than their numbers.
    scores = tf.reduce_sum(users * targets[:, tf.newaxis], axis=2)
    return tf.where(slot_valid, scores, MASKED)


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
      users: [batch, slots, dim] float32; the number of slots is known while tracing.
      slot_valid: [batch, slots] bool; each row needs at least one True.
      candidates: [candidates, dim] float32.

    Returns:
      [batch, candidates] float32.
    """
    slots = users.shape[1]
    if slots == 1:
        return tf.matmul(users[:, 0], candidates, transpose_b=True)
    # The first valid slot stands in for every invalid one, which so never scores higher:
    # cheaper than a mask over [batch, slots, candidates].
    stand_in = first_valid(slot_valid)[:, tf.newaxis]
    place = tf.where(slot_valid, tf.range(slots)[tf.newaxis], stand_in)  # [B, S]
    return _highest_scores(tf.gather(users, place, batch_dims=1), candidates)


@tf.custom_gradient
def _highest_scores(
    users: tf.Tensor, candidates: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """Maximum over the slots, slot by slot; the gradient reaches the first best slot alone.

    TensorFlow's own gradient of a maximum makes several tensors of [batch, slots,
    candidates]; here none is larger than [batch, candidates] but the kept scores.

    Args:
      users: [batch, slots, dim] float32.
      candidates: [candidates, dim] float32.
    """
    slots = tf.unstack(users, axis=1)
    scores = [tf.matmul(slot, candidates, transpose_b=True) for slot in slots]
    highest = functools.reduce(tf.maximum, scores)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        left, to_users, to_candidates = upstream, [], tf.zeros_like(candidates)
        for place, (slot, score) in enumerate(zip(slots, scores, strict=True)):
            if place < len(slots) - 1:
                mine = tf.where(score == highest, left, 0.0)  # [B, C]
                left -= mine
            else:
                mine = left
            to_users.append(tf.matmul(mine, candidates))
            to_candidates += tf.matmul(mine, slot, transpose_a=True)
        return tf.stack(to_users, axis=1), to_candidates

    return highest, gradient
