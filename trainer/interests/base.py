"""What every interest extractor takes and returns."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import tensorflow as tf
import tf_keras

from trainer import randomness

#: Stands for minus infinity; a true one gives NaN gradients behind a mask.
MASKED = -1e9
#: Weights that differ by less than about one of so many parts count as equal.
_WEIGHT_STEPS = 2.0**16


class History(NamedTuple):
    """A batch of histories, newest first.

    Attributes:
      vectors: [batch, length, dim] float32, item vectors as the item tower gives them.
      encoded: [batch, length, dim] float32, with age and action added and dropout applied.
      valid: [batch, length] bool, False for padding, negative actions and unknown items.
      item_ids: [batch, length] int64, item indices, 0 for padding.
    """

    vectors: tf.Tensor
    encoded: tf.Tensor
    valid: tf.Tensor
    item_ids: tf.Tensor

    @property
    def present(self) -> tf.Tensor:
        """[batch, length] bool, True for every item that is not padding."""
        return self.item_ids > 0


class Interests(NamedTuple):
    """The implicit interests of a batch of users, one condition per slot.

    Attributes:
      conditions: [batch, slots, dim] float32, what each slot stands for.
      slot_valid: [batch, slots] bool, False for slots without an item.
      mass: [batch, slots] float32 >= 0, weight of each interest; decides its budget.
      history_slot: [batch, length] int32, the slot that each item feeds, -1 for none.
    """

    conditions: tf.Tensor
    slot_valid: tf.Tensor
    mass: tf.Tensor
    history_slot: tf.Tensor


class InterestExtractor(tf_keras.layers.Layer):
    """Makes the conditions of the implicit slots from a history.

    A subclass sets `num_slots` and implements `extract`. Users without a valid
    item are dealt with by the caller: their slots may hold anything finite.
    """

    num_slots: int

    @property
    def frozen_tables(self) -> list[tf.Variable]:
        """Variables that no gradient reaches; they belong to every export."""
        return list(self.non_trainable_weights)

    @abstractmethod
    def extract(self, history: History, seed: tf.Tensor | None) -> Interests:
        """Makes the conditions.

        Args:
          history: a batch of histories; length is at least 1.
          seed: [2] int32 randomness of this training step, None at inference.
        """

    def call(self, history: History, seed: tf.Tensor | None = None) -> Interests:
        """Same as `extract`."""
        return self.extract(History(*history), seed)


def masked_mean(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean over the last but one axis of the values that count, 0 where none does.

    Args:
      values: [..., length, dim] float32.
      mask: [..., length] bool.

    Returns:
      [..., dim] float32.
    """
    weights = tf.cast(mask, values.dtype)
    total = tf.linalg.matvec(values, weights, transpose_a=True)  # [..., dim]
    return total / tf.maximum(tf.reduce_sum(weights, axis=-1, keepdims=True), 1.0)


def first_valid(mask: tf.Tensor) -> tf.Tensor:
    """Position of the first True along the last axis, int32; 0 where there is none."""
    return tf.argmax(tf.cast(mask, tf.int32), axis=-1, output_type=tf.int32)


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """L2-normalises the last axis; zero stays zero with a small finite gradient."""
    return tf.math.l2_normalize(vectors, axis=-1, epsilon=1e-6)


def masked_softmax(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Softmax over the last axis among the positions that count; 0 elsewhere.

    Args:
      logits: [..., length] float32.
      mask: bool, broadcast to the logits; a row without a True gives zeros.
    """
    weights = tf.nn.softmax(tf.where(mask, logits, MASKED), axis=-1)
    return weights * tf.cast(mask, weights.dtype)


def strongest_slot(weights: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """The slot in which each item weighs most, [batch, length] int32, -1 where not valid.

    Of slots that weigh the same but for rounding (all do where there is one item) it is the
    first: how a sum is rounded depends on the processor and on who else is in the batch.

    Args:
      weights: [batch, slots, length] float32, 0 to 1.
      valid: [batch, length] bool.
    """
    steps = tf.round(weights * _WEIGHT_STEPS)
    return tf.where(valid, tf.argmax(steps, axis=1, output_type=tf.int32), -1)


def one_for_each(valid: tf.Tensor, slots: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Validity and mass of slots that all read the whole history and count alike.

    Args:
      valid: [batch, length] bool.
      slots: number of slots.

    Returns:
      slot_valid: [batch, slots] bool, True where the user has a valid item.
      mass: [batch, slots] float32, 1 for each valid slot.
    """
    slot_valid = tf.repeat(tf.reduce_any(valid, axis=1, keepdims=True), slots, axis=1)
    return slot_valid, tf.cast(slot_valid, tf.float32)


def routing_noise(history: History, slots: int, seed: tf.Tensor | None) -> tf.Tensor:
    """Standard normal routing logits, one for each slot and position.

    In training every user of every step has draws of their own. At inference the draws
    are fixed and belong to (position, slot): neither the batch nor padding behind the
    history changes them, because the generator counts up along the positions.

    Args:
      history: a batch of histories.
      slots: number of slots.
      seed: [2] int32 randomness of this training step, None at inference.

    Returns:
      [batch, slots, length] float32, [1, slots, length] at inference.
    """
    batch, length = tf.unstack(tf.shape(history.item_ids))
    if seed is None:
        fixed = tf.random.stateless_normal([length, slots], [0, randomness.ROUTING])
        return tf.transpose(fixed)[tf.newaxis]
    return tf.random.stateless_normal(
        [batch, slots, length], randomness.salted(seed, randomness.ROUTING)
    )
