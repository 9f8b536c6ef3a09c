"""Interest tokens: K learned queries read the history through one attention head."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.config import ModelConfig
from trainer.interests.base import (
    History,
    InterestExtractor,
    Interests,
    masked_softmax,
    one_for_each,
    strongest_slot,
    unit,
)


class InterestTokens(InterestExtractor):
    """A single-head decoder with learned queries: MVKE without its gates (paper 3.2.4)."""

    def __init__(self, config: ModelConfig, name: str = "interest_tokens") -> None:
        super().__init__(name=name)
        dim = config.embedding_dim
        self.num_slots = config.num_interests
        self._scale = dim**-0.5
        # Keras' default spread of 0.05 would make all queries read the same mean at first.
        self._queries = self.add_weight(
            name="interest_queries",
            shape=(config.num_interests, dim),
            initializer=tf_keras.initializers.RandomNormal(stddev=1.0),
        )
        self._keys = self.add_weight(
            name="interest_keys", shape=(dim, dim), initializer="glorot_uniform"
        )
        # The identity: conditions start among the item vectors, as those of all extractors do.
        self._values = self.add_weight(
            name="interest_values", shape=(dim, dim), initializer="identity"
        )

    def extract(self, history: History, seed: tf.Tensor | None) -> Interests:
        """Lets every query read the encoded valid items; see `InterestExtractor.extract`."""
        keys = tf.tensordot(history.encoded, self._keys, 1)  # [B, L, D]
        logits = tf.einsum("kd,bld->bkl", self._queries, keys) * self._scale
        weights = masked_softmax(logits, history.valid[:, tf.newaxis])  # [B, K, L]
        slot_valid, mass = one_for_each(history.valid, self.num_slots)
        read = tf.tensordot(tf.matmul(weights, history.encoded), self._values, 1)  # [B, K, D]
        return Interests(unit(read), slot_valid, mass, strongest_slot(weights, history.valid))
