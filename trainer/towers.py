"""Item tower, history encoder and user tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from trainer import randomness
from trainer.config import ModelConfig
from trainer.feature_tables import encoder_of
from trainer.interests.base import History, Interests, masked_mean
from trainer.vocabularies import Vocabularies

_NEW_TOPIC_NORM = 2.0


class ItemTower(tf_keras.layers.Layer):
    """Item id, topics and features to one vector: `normalize(id + mean(topics) + features)`.

    Unknown ids share a few hash-bucket rows; training replaces some ids by them,
    so that a new item gets a usable vector from what is known of it.
    """

    def __init__(self, config: ModelConfig, vocabularies: Vocabularies) -> None:
        super().__init__(name="item_tower")
        dim = config.embedding_dim
        self._normalize = config.normalize
        self._id_dropout = config.item_id_dropout
        self._first_oov = 1 + len(vocabularies.items)
        self._oov_buckets = vocabularies.item_oov_buckets
        self.id_rows = None
        if config.untrained_items == "unknown_id" and vocabularies.item_own_id is not None:
            self.id_rows = tf.Variable(
                vocabularies.id_rows(), trainable=False, dtype=tf.int64, name="id_rows"
            )
        self.ids = tf_keras.layers.Embedding(
            vocabularies.item_rows, dim, embeddings_initializer=_initializer(dim), name="item_id"
        )
        self.topics = tf_keras.layers.Embedding(
            vocabularies.topic_rows,
            dim,
            embeddings_initializer=_initializer(dim, _NEW_TOPIC_NORM),
            name="item_topic",
        )
        self.values = encoder_of("items", vocabularies.features, dim)

    def call(
        self,
        item_ids: tf.Tensor,
        item_topics: tf.Tensor,
        values: Mapping[str, tf.Tensor] | None = None,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Embeds items.

        Args:
          item_ids: [items] int64, item indices.
          item_topics: [items, topics] integer, topic indices, 0 for none.
          values: [items, width] transformed features by name; None where there are none.
          seed: [2] int32 randomness of this training step, None at inference.

        Returns:
          [items, dim] float32, L2-normalised if the model is.
        """
        if self.id_rows is not None:
            item_ids = tf.gather(self.id_rows, item_ids)
        if seed is not None and self._id_dropout > 0.0:
            item_ids = self._drop_ids(item_ids, seed)
        vectors = self.ids(item_ids) + self._mean_topic(item_topics)
        if self.values is not None:
            vectors += self.values(values)
        return tf.math.l2_normalize(vectors, axis=-1, epsilon=1e-12) if self._normalize else vectors

    def _drop_ids(self, item_ids: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        draw = tf.random.stateless_uniform(
            tf.shape(item_ids), randomness.salted(seed, randomness.ITEM_ID_DROPOUT)
        )
        # The same draw, stretched over the buckets, says which unknown id stands in.
        bucket = tf.cast(draw / self._id_dropout * self._oov_buckets, item_ids.dtype)
        bucket = tf.minimum(bucket, self._oov_buckets - 1)
        return tf.where(draw < self._id_dropout, self._first_oov + bucket, item_ids)

    def _mean_topic(self, topics: tf.Tensor) -> tf.Tensor:
        present = topics > 0
        rows = tf.cast(tf.where(present)[:, 0], tf.int64)
        flat = self.topics(tf.boolean_mask(topics, present))  # [present, D]
        total = tf.math.unsorted_segment_sum(flat, rows, tf.shape(topics)[0])
        count = tf.reduce_sum(tf.cast(present, flat.dtype), axis=1, keepdims=True)
        return total / tf.maximum(count, 1.0)


class HistoryEncoder(tf_keras.layers.Layer):
    """Adds age and, unless `history_actions` is off, action to the vectors of a history."""

    def __init__(self, config: ModelConfig, vocabularies: Vocabularies, age_buckets: int) -> None:
        super().__init__(name="history_encoder")
        self._dropout, self._actions = config.history_dropout, config.ablation.history_actions
        self._age = tf_keras.layers.Embedding(
            age_buckets + 1, config.embedding_dim, embeddings_initializer="zeros", name="age"
        )
        self._action = tf_keras.layers.Embedding(
            vocabularies.action_rows,
            config.embedding_dim,
            embeddings_initializer="zeros",
            name="action",
        )

    def call(
        self,
        vectors: tf.Tensor,
        ages: tf.Tensor,
        actions: tf.Tensor,
        valid: tf.Tensor,
        item_ids: tf.Tensor,
        seed: tf.Tensor | None = None,
    ) -> History:
        """Encodes a batch of histories.

        Args:
          vectors: [batch, length, dim] float32 item vectors.
          ages: [batch, length] int64 age buckets.
          actions: [batch, length] int64 action indices.
          valid: [batch, length] bool.
          item_ids: [batch, length] int64 item indices.
          seed: [2] int32 randomness of this training step, None at inference.
        """
        encoded = vectors + self._age(ages)
        if self._actions:
            encoded += self._action(actions)
        encoded = randomness.dropout(encoded, self._dropout, seed, randomness.HISTORY_DROPOUT)
        return History(vectors, encoded, valid, item_ids)


class _Dense(tf_keras.layers.Dense):
    """A dense layer that computes in the dtype of its inputs; its weights are float32."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, autocast=False, **kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns [..., units] of [..., features], both of one dtype."""
        if inputs.dtype == tf.float32:
            return super().call(inputs)
        outputs = tf.tensordot(inputs, tf.cast(self.kernel, inputs.dtype), 1)
        if self.use_bias:
            outputs += tf.cast(self.bias, inputs.dtype)
        return outputs if self.activation is None else self.activation(outputs)


class UserTower(tf_keras.layers.Layer):
    """Residual tower with early fusion of the condition: `u = c + MLP([c, context])`.

    The context of a user (mean of the history, its last item) is projected once and
    shared by all slots; each slot adds its condition and, where it stands for a
    cluster, the cluster's last item, size, share and recency.
    """

    def __init__(self, config: ModelConfig, name: str, product_dtype: str = "float32") -> None:
        super().__init__(name=name)
        self._config, self._dtype_in_training = config, product_dtype
        first, *rest = config.hidden_units or (config.embedding_dim,)
        self._from_context = _Dense(first, name=f"{name}_context")
        self._from_slot = _Dense(first, use_bias=False, name=f"{name}_slot")
        self._hidden = [
            _Dense(units, activation="gelu", name=f"{name}_hidden_{index}")
            for index, units in enumerate(rest)
        ]
        self._output = _Dense(config.embedding_dim, name=f"{name}_output")

    def call(
        self,
        conditions: tf.Tensor,
        slot_inputs: tf.Tensor | None,
        context: tf.Tensor,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Embeds a user under each condition.

        Args:
          conditions: [batch, slots, dim] float32.
          slot_inputs: [batch, slots, features] float32, or None.
          context: [batch, context] float32.
          seed: [2] int32 randomness of this training step, None at inference.

        Returns:
          [batch, slots, dim] float32, L2-normalised if the model is.
        """
        rate, salt = self._config.input_dropout, randomness.INPUT_DROPOUT
        parts = [conditions] if slot_inputs is None else [conditions, slot_inputs]
        dtype = tf.float32 if seed is None else tf.as_dtype(self._dtype_in_training)
        slot = tf.cast(randomness.dropout(tf.concat(parts, axis=-1), rate, seed, salt), dtype)
        context = tf.cast(randomness.dropout(context, rate, seed, salt + 1), dtype)
        hidden = tf.nn.gelu(self._from_slot(slot) + self._from_context(context)[:, tf.newaxis])
        for layer in self._hidden:
            hidden = layer(hidden)
        users = conditions + tf.cast(self._output(hidden), tf.float32)
        if not self._config.normalize:
            return users
        return tf.math.l2_normalize(users, axis=-1, epsilon=1e-12)

    def start_as_condition(self) -> None:
        """Zeroes what a built tower adds to its condition."""
        for weights in self._output.weights:
            weights.assign(tf.zeros_like(weights))


def user_context(history: History) -> tf.Tensor:
    """Mean and most recent valid item of a history, `[batch, 2 * dim]`; 0 without one."""
    mean = masked_mean(history.encoded, history.valid)
    newest, some = _newest(history.valid)
    last = tf.gather(history.encoded, newest, batch_dims=1) * some[:, tf.newaxis]
    return tf.concat([mean, last], axis=-1)


def cluster_inputs(history: History, interests: Interests) -> tf.Tensor:
    """Describes each slot's cluster: its last item, size, share of the history, recency.

    Args:
      history: a batch of histories.
      interests: what the extractor made of it.

    Returns:
      [batch, slots, dim + 3] float32; zeros for a slot without items.
    """
    slots = tf.range(tf.shape(interests.conditions)[1])
    members = interests.history_slot[:, tf.newaxis] == slots[tf.newaxis, :, tf.newaxis]  # [B, S, L]
    size = tf.reduce_sum(tf.cast(members, tf.float32), axis=2)
    total = tf.reduce_sum(tf.cast(history.valid, tf.float32), axis=1, keepdims=True)
    newest, some = _newest(members)
    scalars = tf.stack(
        [
            tf.math.log1p(size) / np.log(50.0),
            size / tf.maximum(total, 1.0),
            some / (1.0 + tf.cast(newest, tf.float32)),
        ],
        axis=-1,
    )
    last = tf.gather(history.encoded, newest, batch_dims=1) * some[..., tf.newaxis]
    return tf.concat([last, scalars], axis=-1)


def _newest(members: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Newest member of each row of [..., length] bool.

    Returns:
      [...] int32 position, the last one where a row has no member, and [...] float32, 1
      where it has one and 0 elsewhere.
    """
    length = tf.shape(members)[-1]
    # TensorFlow's argmax takes several times as long.
    from_end = tf.cast(tf.range(length, 0, -1), tf.float32)
    first = tf.cast(tf.reduce_max(tf.cast(members, tf.float32) * from_end, axis=-1), tf.int32)
    return tf.minimum(length - first, length - 1), tf.cast(first > 0, tf.float32)


def _initializer(dim: int, scale: float = 1.0) -> tf_keras.initializers.Initializer:
    """Normal values such that a row has a norm of about `scale`."""
    return tf_keras.initializers.RandomNormal(stddev=scale * dim**-0.5)
