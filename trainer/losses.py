"""Sampled softmax over uniform and in-batch negatives (paper Eq. 9)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from trainer import association
from trainer.interests.base import MASKED


class Negatives(NamedTuple):
    """Candidates that the whole batch shares.

    Attributes:
      vectors: [negatives, dim] float32.
      ids: [negatives] int64.
    """

    vectors: tf.Tensor
    ids: tf.Tensor


class SampledLoss(NamedTuple):
    """Per-example results of the sampled softmax.

    Attributes:
      loss: [batch] float32.
      hit: [batch] bool, the target scored above every negative.
      slot: [batch] int32, the slot that scored the target highest.
    """

    loss: tf.Tensor
    hit: tf.Tensor
    slot: tf.Tensor


class SampledSoftmax:
    """Cross-entropy of the target among sampled negatives.

    With `argmax` association the embedding that the target chose scores the negatives as
    well (Eq. 8-9); with `best_slot` each negative is scored by its own best slot, as at
    serving time.
    """

    def __init__(
        self, *, temperature: float, in_batch: bool, item_probability: np.ndarray | None
    ) -> None:
        """Sets the rule up.

        Args:
          temperature: divides every score.
          in_batch: use the other targets of the batch as negatives.
          item_probability: [item rows] float32 share of each item among the targets, for
            the logQ correction of in-batch negatives; None for no correction.
        """
        self._temperature = temperature
        self._in_batch = in_batch
        self._probability = None if item_probability is None else tf.constant(item_probability)
        self._logq = tfrs.layers.loss.SamplingProbablityCorrection()
        self._accidental = tfrs.layers.loss.RemoveAccidentalHits()

    def __call__(
        self,
        users: tf.Tensor,
        slot_valid: tf.Tensor,
        targets: tf.Tensor,
        target_ids: tf.Tensor,
        negatives: Negatives | None,
        *,
        best_slot: bool,
    ) -> SampledLoss:
        """Computes the loss of every example.

        Args:
          users: [batch, slots, dim] float32.
          slot_valid: [batch, slots] bool, at least one True per row.
          targets: [batch, dim] float32.
          target_ids: [batch] int64.
          negatives: uniform negatives, or None for none.
          best_slot: score each negative by its best slot.
        """
        own = association.slot_scores(users, slot_valid, targets)  # [B, S]
        if not best_slot:
            users = association.chosen_embedding(users, own)[:, tf.newaxis]
            slot_valid = tf.ones_like(slot_valid[:, :1])
        positive = tf.reduce_max(own, axis=1, keepdims=True) / self._temperature
        blocks = []
        if self._in_batch:
            scores = association.best_slot_scores(users, slot_valid, targets)
            blocks.append(self._in_batch_logits(scores / self._temperature, target_ids))
            positive = tf.linalg.diag_part(blocks[0])[:, tf.newaxis]
            blocks[0] = tf.linalg.set_diag(blocks[0], tf.fill(tf.shape(target_ids), MASKED))
        if negatives is not None:
            scores = association.best_slot_scores(users, slot_valid, negatives.vectors)
            blocks.append(self._uniform_logits(scores / self._temperature, target_ids, negatives))
        others = tf.concat(blocks, axis=1)  # [B, negatives]
        logits = tf.concat([positive, others], axis=1)
        loss = tf.reduce_logsumexp(logits, axis=1) - positive[:, 0]
        hit = positive[:, 0] > tf.reduce_max(others, axis=1)
        return SampledLoss(loss, hit, tf.argmax(own, axis=1, output_type=tf.int32))

    def _in_batch_logits(self, logits: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
        """Corrects [batch, batch] logits by the items' frequency and masks accidental hits."""
        if self._probability is not None:
            expected = tf.gather(self._probability, target_ids) * tf.cast(
                tf.size(target_ids), tf.float32
            )
            logits = self._logq(logits, tf.minimum(expected, 1.0))
        labels = tf.eye(tf.shape(target_ids)[0])
        return self._accidental(labels, logits, target_ids)

    def _uniform_logits(
        self, logits: tf.Tensor, target_ids: tf.Tensor, negatives: Negatives
    ) -> tf.Tensor:
        """Masks negatives that are the target itself; logQ where in-batch ones are corrected."""
        if self._in_batch and self._probability is not None:
            rows = tf.cast(tf.size(self._probability), tf.float32)
            expected = tf.cast(tf.size(negatives.ids), tf.float32) / rows
            logits = self._logq(logits, tf.fill(tf.shape(negatives.ids), tf.minimum(expected, 1.0)))
        same = target_ids[:, tf.newaxis] == negatives.ids[tf.newaxis, :]
        return tf.where(same, MASKED, logits)
