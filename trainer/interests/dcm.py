"""Differentiable clustering (DCM): farthest-point start and single-assignment routing."""

from __future__ import annotations

import tensorflow as tf

from trainer import randomness
from trainer.config import ModelConfig
from trainer.interests.base import (
    MASKED,
    History,
    InterestExtractor,
    Interests,
    first_valid,
    routing_noise,
)


class DifferentiableClustering(InterestExtractor):
    """K clusters of a history, made anew for every request (paper 3.2, Eq. 1-7).

    Each part can be switched: `centroid_init` (VA-FPI, random items, or the random first
    routing of MIND), `validity_aware` (off: invalid items take part like any other),
    `single_assignment` (off: the whole softmax stays) and `routing_matrix` (on: once the
    first centroids are chosen, `S e` stands for every item `e`).
    """

    def __init__(self, config: ModelConfig, name: str = "differentiable_clustering") -> None:
        super().__init__(name=name)
        self.num_slots = config.num_interests
        self._config = config
        self._map: tf.Variable | None = None
        if config.ablation.routing_matrix:
            self._map = self.add_weight(
                name="routing_matrix",
                shape=(config.embedding_dim, config.embedding_dim),
                initializer="identity",
            )

    def extract(self, history: History, seed: tf.Tensor | None) -> Interests:
        """Clusters the history; see `InterestExtractor.extract`.

        Items are assigned by their clean vectors; the centroids of the last iteration
        are made of the encoded ones and carry the gradient.
        """
        config = self._config
        valid = history.valid if config.ablation.validity_aware else history.present
        items = history.vectors
        if not config.normalize:  # the item tower has not done it
            items = tf.math.l2_normalize(items, axis=-1, epsilon=1e-12)
        points, encoded = self._mapped(items), self._mapped(history.encoded)
        frozen = tf.stop_gradient(points)
        centroids, chosen, logits = self._start(items, frozen, valid, history, seed)
        for iteration in range(config.routing_iterations):
            last = iteration == config.routing_iterations - 1
            if logits is None:
                logits = tf.matmul(centroids, points if last else frozen, transpose_b=True)
            weights, history_slot = assign(
                logits / config.routing_temperature,
                valid,
                chosen,
                single=config.ablation.single_assignment,
            )
            if config.ablation.centroid_init == "gaussian":
                # A slot that drew no item has no centroid to go on with.
                chosen = tf.logical_and(chosen, tf.reduce_any(weights > 0.0, axis=2))
            centroids = self._update(weights, encoded if last else frozen, centroids)
            logits = None
        mass = tf.reduce_sum(weights, axis=2)  # [B, K]
        slot_valid = mass > 0.0 if config.ablation.single_assignment else chosen
        return Interests(centroids, slot_valid, mass, history_slot)

    def _start(
        self,
        items: tf.Tensor,
        points: tf.Tensor,
        valid: tf.Tensor,
        history: History,
        seed: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Chooses the first centroids, or the routing logits that stand in for them.

        Args:
          items: [batch, length, dim] float32, L2-normalised.
          points: [batch, length, dim] float32, without gradient.
          valid: [batch, length] bool.
          history: a batch of histories.
          seed: [2] int32 randomness of this training step, None at inference.

        Returns:
          centroids: [batch, slots, dim] float32, zeros where logits stand in.
          chosen: [batch, slots] bool.
          logits: float32, [batch or 1, slots, length], of the first iteration; None where the
            centroids give them.
        """
        slots, epsilon = self.num_slots, self._config.duplicate_epsilon
        if self._config.ablation.centroid_init == "gaussian":
            chosen = tf.repeat(tf.reduce_any(valid, axis=1, keepdims=True), slots, axis=1)
            batch, _, dim = tf.unstack(tf.shape(points))
            return tf.zeros([batch, slots, dim]), chosen, routing_noise(history, slots, seed)
        if self._config.ablation.centroid_init == "random_items":
            picks, chosen = random_points(items, valid, slots, epsilon, seed)
        else:
            picks, chosen = farthest_points(items, valid, slots, epsilon)
        return tf.gather(points, picks, batch_dims=1), chosen, None

    def _mapped(self, vectors: tf.Tensor) -> tf.Tensor:
        """`S e` for each vector, or the vectors themselves without a routing matrix."""
        return vectors if self._map is None else tf.tensordot(vectors, self._map, 1)

    def _update(self, weights: tf.Tensor, points: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        """Next centroids (Eq. 2); an empty cluster keeps the one it had."""
        total = tf.matmul(weights, points)  # [B, K, D]
        if self._config.ablation.centroid_norm == "squash":
            after = squash(total)
        else:
            after = tf.math.l2_normalize(total, -1, epsilon=1e-12)
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
    return _distinct_points(points, valid, count, epsilon, first_valid(valid), None)


def random_points(
    points: tf.Tensor, valid: tf.Tensor, count: int, epsilon: float, seed: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Random distinct valid items; at inference the draw is fixed and goes by position.

    Args:
      points: [batch, length, dim] float32, L2-normalised; newest first.
      valid: [batch, length] bool.
      count: K, number of picks.
      epsilon: least cosine distance between two picks.
      seed: [2] int32 randomness of this training step, None at inference.

    Returns:
      The same as `farthest_points`.
    """
    batch, length = tf.unstack(tf.shape(valid))
    if seed is None:
        # The generator counts up along the positions, so padding behind them moves nothing.
        keys = tf.random.stateless_uniform([length], [0, randomness.CENTROIDS])[tf.newaxis]
    else:
        keys = tf.random.stateless_uniform(
            [batch, length], randomness.salted(seed, randomness.CENTROIDS)
        )
    first = tf.argmin(tf.where(valid, keys, -MASKED), axis=1, output_type=tf.int32)
    return _distinct_points(points, valid, count, epsilon, first, keys)


def _distinct_points(
    points: tf.Tensor,
    valid: tf.Tensor,
    count: int,
    epsilon: float,
    first: tf.Tensor,
    keys: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Picks distinct items from `first` on: smallest key next, without keys the farthest."""
    points = tf.stop_gradient(points)
    picks, chosen = [first], [tf.reduce_any(valid, axis=1)]
    nearest = _similarity_to(points, first)  # [B, L]
    for _ in range(count - 1):
        usable = tf.logical_and(valid, nearest < 1.0 - epsilon)
        rank = nearest if keys is None else keys
        pick = tf.argmin(tf.where(usable, rank, -MASKED), axis=1, output_type=tf.int32)
        found = tf.reduce_any(usable, axis=1)
        pick = tf.where(found, pick, first)
        nearest = tf.maximum(nearest, _similarity_to(points, pick))
        picks.append(pick)
        chosen.append(found)
    return tf.stack(picks, axis=1), tf.stack(chosen, axis=1)


def assign(
    logits: tf.Tensor, valid: tf.Tensor, chosen: tf.Tensor, *, single: bool = True
) -> tuple[tf.Tensor, tf.Tensor]:
    """Shares the items between the centroids: Eq. 1, with single-assignment (SAR) Eq. 7.

    Args:
      logits: [batch, slots, length] float32, centroids against items; batch may be 1.
      valid: [batch, length] bool; other items feed no cluster.
      chosen: [batch, slots] bool; other centroids get no item.
      single: keep the softmax weight of each item's best centroid alone.

    Returns:
      weights: [batch, slots, length] float32, the kept softmax weights over the centroids.
      history_slot: [batch, length] int32, the best centroid, -1 where not valid.
    """
    logits += tf.where(chosen, 0.0, MASKED)[:, :, tf.newaxis]
    # By hand, because TensorFlow's argmax, softmax and broadcast select are slow here.
    count = tf.shape(logits)[1]
    slots = tf.range(count)[tf.newaxis, :, tf.newaxis]
    highest = tf.reduce_max(tf.stop_gradient(logits), axis=1, keepdims=True)
    best = tf.cast(logits == highest, logits.dtype) * tf.cast(count - slots, logits.dtype)
    nearest = count - tf.cast(tf.reduce_max(best, axis=1), tf.int32)  # [B, L], first of equals
    powers = tf.exp(logits - highest)
    usable = tf.logical_and(valid, tf.reduce_any(chosen, axis=1, keepdims=True))
    history_slot = tf.where(usable, nearest, -1)
    kept = history_slot[:, tf.newaxis] == slots if single else usable[:, tf.newaxis]
    total = tf.reduce_sum(powers, axis=1, keepdims=True)
    return powers * tf.cast(kept, powers.dtype) / total, history_slot


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
