"""Self-attention interests: K attention heads over the history (ComiRec-SA)."""

from __future__ import annotations

import tensorflow as tf

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


class SelfAttention(InterestExtractor):
    """Slot k is the history weighted by `softmax(W2 tanh(W1 H))_k` (arXiv 2005.09347)."""

    def __init__(self, config: ModelConfig, name: str = "self_attention") -> None:
        super().__init__(name=name)
        self.num_slots = config.num_interests
        self._hidden = self.add_weight(
            name="self_attention_hidden",
            shape=(config.embedding_dim, config.attention_units),
            initializer="glorot_uniform",
        )
        self._heads = self.add_weight(
            name="self_attention_heads",
            shape=(config.attention_units, config.num_interests),
            initializer="glorot_uniform",
        )

    def extract(self, history: History, seed: tf.Tensor | None) -> Interests:
        """Attends to the encoded valid items; see `InterestExtractor.extract`."""
        hidden = tf.tanh(tf.tensordot(history.encoded, self._hidden, 1))  # [B, L, units]
        logits = tf.transpose(tf.tensordot(hidden, self._heads, 1), [0, 2, 1])  # [B, K, L]
        weights = masked_softmax(logits, history.valid[:, tf.newaxis])
        slot_valid, mass = one_for_each(history.valid, self.num_slots)
        return Interests(
            conditions=unit(tf.matmul(weights, history.encoded)),
            slot_valid=slot_valid,
            mass=mass,
            history_slot=strongest_slot(weights, history.valid),
        )
