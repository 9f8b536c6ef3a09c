"""What every interest extractor takes and returns."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import tensorflow as tf
import tf_keras

#: Stands for minus infinity; a true one gives NaN gradients behind a mask.
MASKED = -1e9


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
