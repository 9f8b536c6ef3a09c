"""One interest: the plain two-tower model."""

from __future__ import annotations

import tensorflow as tf

from trainer.config import ModelConfig
from trainer.interests.base import History, InterestExtractor, Interests, masked_mean


class SingleInterest(InterestExtractor):
    """One slot whose condition is the mean of the history."""

    num_slots = 1

    def __init__(self, config: ModelConfig, name: str = "single_interest") -> None:
        super().__init__(name=name)

    def extract(self, history: History, seed: tf.Tensor | None) -> Interests:
        """Pools the whole history into slot 0; see `InterestExtractor.extract`."""
        any_valid = tf.reduce_any(history.valid, axis=1, keepdims=True)  # [B, 1]
        pooled = masked_mean(history.encoded, history.valid)[:, tf.newaxis]  # [B, 1, D]
        return Interests(
            conditions=tf.math.l2_normalize(pooled, axis=-1, epsilon=1e-6),
            slot_valid=any_valid,
            mass=tf.cast(any_valid, pooled.dtype),
            history_slot=tf.where(history.valid, 0, -1),
        )
