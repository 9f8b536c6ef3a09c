"""The last K items as they are: the control for every way of clustering."""

from __future__ import annotations

import tensorflow as tf

from trainer.config import ModelConfig
from trainer.interests.base import History, InterestExtractor, Interests, first_valid, unit


class LastItems(InterestExtractor):
    """Slot k is the k-th most recent distinct valid item of the history."""

    def __init__(self, config: ModelConfig, name: str = "last_items") -> None:
        super().__init__(name=name)
        self.num_slots = config.num_interests

    def extract(self, history: History, seed: tf.Tensor | None) -> Interests:
        """Takes the last distinct items; see `InterestExtractor.extract`.

        The condition is the item's most recent entry; its other valid entries feed the
        same slot, older items feed none.
        """
        left = history.valid  # [B, L], valid entries whose item has no slot yet
        picks, found = [], []
        history_slot = tf.fill(tf.shape(history.valid), -1)
        for slot in range(self.num_slots):
            pick = first_valid(left)  # [B]
            found.append(tf.reduce_any(left, axis=1))
            item = tf.gather(history.item_ids, pick, batch_dims=1)[:, tf.newaxis]
            same = tf.logical_and(left, history.item_ids == item)
            history_slot = tf.where(same, slot, history_slot)
            left = tf.logical_and(left, tf.logical_not(same))
            picks.append(pick)
        slot_valid = tf.stack(found, axis=1)  # [B, K]
        return Interests(
            conditions=unit(tf.gather(history.encoded, tf.stack(picks, axis=1), batch_dims=1)),
            slot_valid=slot_valid,
            mass=tf.cast(slot_valid, tf.float32),
            history_slot=history_slot,
        )
