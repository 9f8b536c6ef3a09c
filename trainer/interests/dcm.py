"""Differentiable clustering (DCM): farthest-point start and single-assignment routing."""

from __future__ import annotations

import tensorflow as tf

from trainer.config import ModelConfig
from trainer.interests.base import MASKED, History, InterestExtractor, Interests, first_valid


class DifferentiableClustering(InterestExtractor):
    """K clusters of a history, made anew for every request (paper 3.2, Eq. 1-7)."""

    def __init__(self, config: ModelConfig, name: str = "differentiable_clustering") -> None:
        super().__init__(name=name)
        self.num_slots = config.num_interests
        self._iterations = config.routing_iterations
        self._temperature = config.routing_temperature
        self._epsilon = config.duplicate_epsilon
        self._squash = config.centroid_norm == "squash"

    def extract(self, history: History, seed: tf.Tensor | None) -> Interests:
        """Clusters the history; see `InterestExtractor.extract`.

        Items are assigned by their clean vectors; the centroids of the last iteration
        are made of the encoded ones and carry the gradient.
        """
        points = tf.math.l2_normalize(history.vectors, axis=-1, epsilon=1e-12)
        picks, chosen = farthest_points(points, history.valid, self.num_slots, self._epsilon)
        frozen = tf.stop_gradient(points)
        centroids = tf.gather(frozen, picks, batch_dims=1)  # [B, K, D]
        for _ in range(self._iterations - 1):
            weights, _ = route(frozen, history.valid, centroids, chosen, self._temperature)
            centroids = self._update(weights, frozen, centroids)
        weights, history_slot = route(
            points, history.valid, tf.stop_gradient(centroids), chosen, self._temperature
        )
        centroids = self._update(weights, history.encoded, tf.stop_gradient(centroids))
        mass = tf.reduce_sum(weights, axis=2)  # [B, K]
        return Interests(centroids, mass > 0.0, mass, history_slot)

    def _update(self, weights: tf.Tensor, points: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        """Next centroids (Eq. 2); an empty cluster keeps the one it had."""
        total = tf.matmul(weights, points)  # [B, K, D]
        after = squash(total) if self._squash else tf.math.l2_normalize(total, -1, epsilon=1e-12)
        filled = tf.reduce_any(weights > 0.0, axis=2, keepdims=True)
        return tf.where(filled, after, before)


def farthest_points(
    points: tf.Tensor, valid: tf.Tensor, count: int, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Validity-aware farthest-point start (VA-FPI, Eq. 5-6 with a hard mask).

    The first pick is the most recent valid item; each next one is the valid item whose
    nearest pick is farthest. Items closer than `epsilon` to a pick are not taken.

    Args:
      points: [batch, length, dim] float32, L2-normalised; newest first.
      valid: [batch, length] bool.
      count: K, number of picks.
      epsilon: least cosine distance between two picks.

    Returns:
      picks: [batch, count] int32 positions; those not `chosen` repeat the first.
      chosen: [batch, count] bool, True for the first min(count, distinct valid items).
    """
    points = tf.stop_gradient(points)
    first = first_valid(valid)  # [B]
    picks, chosen = [first], [tf.reduce_any(valid, axis=1)]
    nearest = _similarity_to(points, first)  # [B, L]
    for _ in range(count - 1):
        usable = tf.logical_and(valid, nearest < 1.0 - epsilon)
        pick = tf.argmin(tf.where(usable, nearest, -MASKED), axis=1, output_type=tf.int32)
        found = tf.reduce_any(usable, axis=1)
        pick = tf.where(found, pick, first)
        nearest = tf.maximum(nearest, _similarity_to(points, pick))
        picks.append(pick)
        chosen.append(found)
    return tf.stack(picks, axis=1), tf.stack(chosen, axis=1)


def route(
    points: tf.Tensor,
    valid: tf.Tensor,
    centroids: tf.Tensor,
    chosen: tf.Tensor,
    temperature: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Single-assignment routing (SAR, Eq. 1 and 7).

    Args:
      points: [batch, length, dim] float32.
      valid: [batch, length] bool; other items feed no cluster.
      centroids: [batch, slots, dim] float32.
      chosen: [batch, slots] bool; other centroids get no item.
      temperature: of the softmax over centroids.

    Returns:
      weights: [batch, slots, length] float32, the softmax weight of each item's nearest
        centroid and 0 elsewhere.
      history_slot: [batch, length] int32, the nearest centroid, -1 where not valid.
    """
    logits = tf.matmul(centroids, points, transpose_b=True) / temperature  # [B, K, L]
    logits = tf.where(chosen[:, :, tf.newaxis], logits, MASKED)
    nearest = tf.argmax(logits, axis=1, output_type=tf.int32)  # [B, L]
    usable = tf.logical_and(valid, tf.reduce_any(chosen, axis=1, keepdims=True))
    history_slot = tf.where(usable, nearest, -1)
    kept = tf.one_hot(history_slot, tf.shape(centroids)[1], axis=1)  # [B, K, L]
    return tf.nn.softmax(logits, axis=1) * kept, history_slot


def squash(vectors: tf.Tensor) -> tf.Tensor:
    """Shortens vectors to a norm below 1 (Eq. 3); zero stays zero with a finite gradient.

    Args:
      vectors: [..., dim] float32.
    """
    squared = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors * tf.sqrt(squared + 1e-12) / (1.0 + squared)


def _similarity_to(points: tf.Tensor, pick: tf.Tensor) -> tf.Tensor:
    """Dot product of every item with the picked one, [batch, length]."""
    return tf.linalg.matvec(points, tf.gather(points, pick, batch_dims=1))
