"""Pooled sequences of fixed item clusters: the PinnerSage-like comparator (PFS)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from core.errors import TrainingError
from trainer.config import ModelConfig
from trainer.interests.base import History, InterestExtractor, Interests, unit


class PooledSequences(InterestExtractor):
    """Splits a history by offline clusters of the catalogue and pools each part.

    The clusters do not depend on the user or on the training: they are a table by item
    index that travels with the model. The clusters with most valid items become slots,
    among equals the more recent one first.
    """

    def __init__(
        self,
        config: ModelConfig,
        item_clusters: np.ndarray | None,
        name: str = "pooled_sequences",
    ) -> None:
        """Sets the table up.

        Args:
          config: the model.
          item_clusters: [item rows] int32 cluster of every item index, -1 for none.
          name: of the layer.

        Raises:
          TrainingError: there is no table, or it holds a cluster outside the range.
        """
        super().__init__(name=name)
        if item_clusters is None:
            raise TrainingError(f"model {config.name!r} needs the offline clusters of its items")
        bound = config.item_clusters
        if item_clusters.max(initial=-1) >= bound or item_clusters.min(initial=-1) < -1:
            raise TrainingError(
                f"item clusters run from {item_clusters.min()} to {item_clusters.max()}; "
                f"model.item_clusters={bound} allows -1 to {bound - 1}"
            )
        self.num_slots = config.num_interests
        self._clusters = max(bound, config.num_interests)
        self._table = tf.Variable(
            item_clusters, trainable=False, dtype=tf.int32, name="item_clusters"
        )

    def extract(self, history: History, seed: tf.Tensor | None) -> Interests:
        """Pools the user's largest clusters; see `InterestExtractor.extract`."""
        cluster = tf.where(history.valid, tf.gather(self._table, history.item_ids), -1)  # [B, L]
        sizes, newest = self._by_cluster(cluster)
        length = tf.shape(cluster)[1]
        # One number that sorts by size, then by recency.
        rank = sizes * (length + 1) + (length - newest)  # [B, C]
        found = tf.math.top_k(tf.where(sizes > 0, rank, -1), self.num_slots)
        members = cluster[:, tf.newaxis] == found.indices[:, :, tf.newaxis]  # [B, K, L]
        slot_valid = found.values >= 0
        slots = tf.range(self.num_slots)[tf.newaxis, :, tf.newaxis]
        weights = tf.cast(members, tf.float32)
        mass = tf.reduce_sum(weights, axis=2)  # [B, K]
        pooled = tf.matmul(weights, history.encoded) / tf.maximum(mass, 1.0)[..., tf.newaxis]
        return Interests(
            conditions=unit(pooled),
            slot_valid=slot_valid,
            mass=mass,
            history_slot=tf.reduce_max(tf.where(members, slots, -1), axis=1),
        )

    def _by_cluster(self, cluster: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Counts the items of each cluster and finds its newest one.

        Args:
          cluster: [batch, length] int32, -1 for none.

        Returns:
          sizes: [batch, clusters] int32.
          newest: [batch, clusters] int32, position of the newest item; any large number for
            an empty cluster.
        """
        batch, length = tf.unstack(tf.shape(cluster))
        total = batch * self._clusters
        row = tf.range(batch)[:, tf.newaxis] * self._clusters
        segment = tf.where(cluster >= 0, row + cluster, total)  # the last one is thrown away
        position = tf.broadcast_to(tf.range(length)[tf.newaxis], [batch, length])
        sizes = tf.math.unsorted_segment_sum(tf.ones_like(cluster), segment, total + 1)
        newest = tf.math.unsorted_segment_min(position, segment, total + 1)
        shape = [batch, self._clusters]
        return tf.reshape(sizes[:-1], shape), tf.reshape(newest[:-1], shape)
