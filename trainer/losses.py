"""Sampled softmax over uniform and in-batch negatives (paper Eq. 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from trainer import features, randomness
from trainer.association import (
    Association,
    best_slot_scores,
    chosen_embedding,
    gumbel_embedding,
    label_aware_embedding,
    slot_scores,
)
from trainer.frequency import ItemFrequency
from trainer.interests.base import MASKED

#: Least expected number of draws; keeps the logarithm of an item that is never drawn finite.
_LEAST_DRAWS = 1e-9


class Negatives(NamedTuple):
    """Candidates that the whole batch shares, drawn uniformly.

    Attributes:
      vectors: [negatives, dim] float32.
      ids: [negatives] int64.
      population: number of items they were drawn from.
      last_id: largest id that may be drawn, above it are unknown items; None: `population`.
    """

    vectors: tf.Tensor
    ids: tf.Tensor
    population: int
    last_id: int | None = None


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

    The association says which embedding of a user scores what: `argmax` the one that the
    target chose scores the target and the negatives (Eq. 8-9); `gumbel` and `label_aware`
    one that is a mixture of the slots does; with `best_slot` the target and each negative
    are scored by their own best slot, as at serving time.
    """

    def __init__(
        self,
        *,
        temperature: float,
        in_batch: bool,
        frequency: ItemFrequency | None,
        gumbel_temperature: float = 1.0,
        label_attention_power: float = 20.0,
        product_dtype: str = "float32",
    ) -> None:
        """Sets the rule up.

        Args:
          temperature: divides every score.
          in_batch: use the other targets of the batch as negatives.
          frequency: how often an item is drawn as an in-batch negative, for the logQ
            correction; None for no correction.
          gumbel_temperature: see `association.gumbel_embedding`.
          label_attention_power: see `association.label_aware_embedding`.
          product_dtype: of the matrix products that score the candidates.
        """
        self._temperature = temperature
        self._in_batch = in_batch
        # Uniform draws alone have the same Q for every item, which changes nothing.
        self._frequency = frequency if in_batch else None
        self._gumbel_temperature = gumbel_temperature
        self._label_attention_power = label_attention_power
        self._dtype = tf.as_dtype(product_dtype)

    def __call__(
        self,
        users: tf.Tensor,
        slot_valid: tf.Tensor,
        targets: tf.Tensor,
        target_ids: tf.Tensor,
        negatives: Negatives | None,
        *,
        association: Association,
        seed: tf.Tensor | None = None,
        in_batch: tuple[tf.Tensor, tf.Tensor] | None = None,
    ) -> SampledLoss:
        """Computes the loss of every example.

        Args:
          users: [batch, slots, dim] float32.
          slot_valid: [batch, slots] bool, at least one True per row.
          targets: [batch, dim] float32.
          target_ids: [batch] int64.
          negatives: uniform negatives, or None for none.
          association: which embedding scores the target and the negatives.
          seed: [2] int32 randomness of this training step, None at evaluation.
          in_batch: vectors [targets, dim] and ids [targets] of the targets of the whole batch
            where the examples are a slice of it; None: they are all of it.
        """
        batch_targets, batch_ids = in_batch or (targets, target_ids)
        own = slot_scores(users, slot_valid, targets)  # [B, S]
        slot = tf.argmax(own, axis=1, output_type=tf.int32)
        if association == "best_slot":
            positive = tf.reduce_max(own, axis=1)
        else:
            chosen = self._associated(users, own, association, seed)  # [B, D]
            positive = tf.reduce_sum(chosen * targets, axis=1)
            users, slot_valid = chosen[:, tf.newaxis], tf.ones_like(slot_valid[:, :1])
        positive /= self._temperature
        vectors, ids = self._candidates(batch_targets, batch_ids, negatives)
        scaled = tf.cast(users / self._temperature, self._dtype)
        others = best_slot_scores(scaled, slot_valid, tf.cast(vectors, self._dtype))  # [B, C]
        others = tf.cast(others, tf.float32)
        if self._frequency is not None:
            positive -= self._log_draws(target_ids, batch_ids, negatives)
            others -= self._log_draws(ids, batch_ids, negatives)
        # The target itself, be it the row's own or an accidental hit, is no negative.
        total, highest = _log_sum_exp(others, target_ids[:, tf.newaxis] == ids)
        return SampledLoss(tf.nn.softplus(total - positive), positive > highest, slot)

    def _associated(
        self, users: tf.Tensor, scores: tf.Tensor, rule: Association, seed: tf.Tensor | None
    ) -> tf.Tensor:
        """The one embedding [batch, dim] that scores everything under a rule but `best_slot`."""
        if rule == "gumbel":
            return gumbel_embedding(
                users, scores / self._temperature, self._gumbel_temperature, seed
            )
        if rule == "label_aware":
            return label_aware_embedding(users, scores, self._label_attention_power)
        return chosen_embedding(users, scores)

    def _candidates(
        self, targets: tf.Tensor, target_ids: tf.Tensor, negatives: Negatives | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Vectors [candidates, dim] and ids [candidates] of both pools of negatives."""
        if negatives is None:
            return targets, target_ids
        if not self._in_batch:
            return negatives.vectors, negatives.ids
        vectors = tf.concat([targets, negatives.vectors], axis=0)
        return vectors, tf.concat([target_ids, negatives.ids], axis=0)

    def _log_draws(
        self, ids: tf.Tensor, target_ids: tf.Tensor, negatives: Negatives | None
    ) -> tf.Tensor:
        """Logarithm of how often an item is expected among a row's negatives.

        A candidate may have come from either pool, so the expectations add up (mixed
        negatives, Yang et al. 2020); then the sum of exp(corrected logit) over a row's
        negatives has the sum over the whole catalogue as its expectation.

        Args:
          ids: [ids] int64.
          target_ids: [batch] int64.
          negatives: uniform negatives, or None for none.

        Returns:
          [ids] float32.
        """
        if self._frequency is None:
            return tf.zeros_like(ids, tf.float32)
        draws = self._frequency.expected_draws(ids, tf.size(target_ids) - 1)
        if negatives is not None:
            drawable = tf.logical_and(ids >= 1, ids <= (negatives.last_id or negatives.population))
            share = tf.cast(tf.size(negatives.ids), tf.float32) / negatives.population
            draws += tf.where(drawable, share, 0.0)
        return tf.math.log(tf.maximum(draws, _LEAST_DRAWS))


def uniform_draws(rows: tf.Tensor, count: int, seed: tf.Tensor) -> tf.Tensor:
    """Draws negatives, the same on every replica of a step.

    Args:
      rows: [items] int64, item indices that can be targets.
      count: number of draws.
      seed: [2] int32, (run seed, step).

    Returns:
      [count] int64.
    """
    drawn = tf.random.stateless_uniform(
        [count],
        randomness.salted(seed, randomness.NEGATIVES),
        minval=0,
        maxval=tf.size(rows, tf.int64),
        dtype=tf.int64,
    )
    return tf.gather(rows, drawn)


def mean_of_batch(values: tf.Tensor, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Mean of [batch]; of a slice of a batch its share in the mean of the whole.

    Args:
      values: [batch] float32.
      inputs: transformed features of the batch or slice.
    """
    if features.BATCH_TARGETS not in inputs:
        return tf.reduce_mean(values)
    return tf.reduce_sum(values) / tf.cast(tf.size(inputs[features.BATCH_TARGETS]), values.dtype)


@tf.custom_gradient
def _log_sum_exp(
    logits: tf.Tensor, masked: tf.Tensor
) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable[..., tuple[tf.Tensor, None]]]:
    """Logarithm of the sum of exponentials over the logits that are not masked.

    The same as TensorFlow's, in fewer passes over [batch, candidates].

    Args:
      logits: [batch, candidates] float32.
      masked: [batch, candidates] bool.

    Returns:
      [batch] float32, a large negative number where all are masked, and the [batch]
      float32 maximum, which carries no gradient.
    """
    kept = tf.where(masked, MASKED, logits)
    highest = tf.reduce_max(kept, axis=1)
    powers = tf.exp(kept - highest[:, tf.newaxis])  # [B, C]
    total = tf.reduce_sum(powers, axis=1)

    def gradient(upstream: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, None]:
        return powers * (upstream / total)[:, tf.newaxis], None

    return (tf.math.log(total) + highest, highest), gradient
