"""MIND: behaviour-to-interest dynamic routing (arXiv 1904.08030)."""

from __future__ import annotations

import tensorflow as tf

from trainer.config import ModelConfig
from trainer.interests.base import (
    History,
    InterestExtractor,
    Interests,
    one_for_each,
    routing_noise,
    strongest_slot,
    unit,
)
from trainer.interests.dcm import squash


class DynamicRouting(InterestExtractor):
    """K interest capsules with one bilinear map S for all of them.

    Routing logits start at random, collect the agreement `c_k . S e_i` of every iteration
    and share each item softly between the capsules. As in DCM items are routed by their
    clean vectors and the capsules of the last iteration are made of the encoded ones;
    gradients run through that iteration alone, as in ComiRec.
    """

    def __init__(self, config: ModelConfig, name: str = "dynamic_routing") -> None:
        super().__init__(name=name)
        self.num_slots = config.num_interests
        self._iterations = config.routing_iterations
        self._temperature = config.routing_temperature
        self._squash = config.ablation.centroid_norm == "squash"
        self._map = self.add_weight(
            name="routing_matrix",
            shape=(config.embedding_dim, config.embedding_dim),
            initializer="identity",
        )

    def extract(self, history: History, seed: tf.Tensor | None) -> Interests:
        """Routes the valid items to the capsules; see `InterestExtractor.extract`."""
        points = tf.math.l2_normalize(history.vectors, axis=-1, epsilon=1e-12)
        mapped = tf.stop_gradient(tf.tensordot(points, self._map, 1))  # [B, L, D]
        present = tf.cast(history.valid, mapped.dtype)[:, tf.newaxis]  # [B, 1, L]
        logits = routing_noise(history, self.num_slots, seed)  # [B or 1, K, L]
        weights = self._weights(logits, present)
        for _ in range(self._iterations - 1):
            capsules = squash(tf.matmul(weights, mapped))  # [B, K, D]
            logits += tf.matmul(capsules, mapped, transpose_b=True)  # [B, K, L]
            weights = self._weights(logits, present)
        total = tf.matmul(weights, tf.tensordot(history.encoded, self._map, 1))
        slot_valid, _ = one_for_each(history.valid, self.num_slots)
        return Interests(
            conditions=squash(total) if self._squash else unit(total),
            slot_valid=slot_valid,
            mass=tf.reduce_sum(weights, axis=2),
            history_slot=strongest_slot(weights, history.valid),
        )

    def _weights(self, logits: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        """Shares each valid item between the capsules, [batch, slots, length]."""
        return tf.nn.softmax(logits / self._temperature, axis=1) * present
