"""Explicit conditions: the topic that an embedding is asked for."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer import features, randomness
from trainer.config import ModelConfig

_DAY_SECONDS = 86_400
_KEY_RANGE = 2**62
#: Sorts behind every real key.
_LAST_KEY = 2**63 - 1


class TopicConditions(tf_keras.layers.Layer):
    """Topic indices to condition vectors; index 0 is the learned null condition."""

    def __init__(self, config: ModelConfig, topics: tf_keras.layers.Embedding) -> None:
        super().__init__(name="topic_conditions")
        self._topics = topics
        self._null = self.add_weight(
            name="null_condition", shape=(config.embedding_dim,), initializer="random_normal"
        )

    def call(self, topics: tf.Tensor) -> tf.Tensor:
        """Embeds topics.

        Args:
          topics: [batch, slots] int64 topic indices, 0 for the null condition.

        Returns:
          [batch, slots, dim] float32.
        """
        known = (topics > 0)[..., tf.newaxis]
        return tf.where(known, self._topics(topics), self._null)


def training_topic(
    columns: dict[str, tf.Tensor], config: ModelConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Chooses the topic under which each training example is learned.

    `source_interest`: the topic that the target was served for. `item_interest`: one of
    the target's topics, uniformly at random.

    Args:
      columns: transformed features of a batch.
      config: the model's configuration.
      seed: [2] int32 randomness of this training step.

    Returns:
      topics: [batch] int64, 0 where there is none (null condition).
      weights: [batch] float32, 0 where the example is not used.
    """
    if config.condition == "source_interest":
        topic = columns[features.transformed_name(features.SOURCE_TOPIC)][:, 0]
        if not config.ablation.derived_sources:
            derived = columns[features.transformed_name(features.SOURCE_TOPIC_DERIVED)][:, 0]
            topic = tf.where(derived > 0, tf.zeros_like(topic), topic)
    else:
        topic = _random_topic(columns[features.transformed_name(features.ITEM_TOPICS)], seed)
    weights = tf.ones_like(topic, tf.float32)
    if not config.ablation.null_condition:
        weights = tf.cast(topic > 0, tf.float32)
    return topic, weights


def pick_keys(topics: tf.Tensor, timestamp: tf.Tensor) -> tf.Tensor:
    """Hashes each followed topic with the day of the request.

    Args:
      topics: [batch, follows] string.
      timestamp: [batch] int64, seconds.

    Returns:
      [batch, follows] int64 >= 0; the order of the keys is a new draw every day.
    """
    day = tf.strings.as_string(timestamp // _DAY_SECONDS)[:, tf.newaxis]
    return tf.strings.to_hash_bucket_fast(day + "\x1f" + topics, _KEY_RANGE)


def random_keys(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws keys for `pick_topics` while training, int64 of a shape, >= 0."""
    return tf.random.stateless_uniform(shape, seed, maxval=_KEY_RANGE, dtype=tf.int64)


def pick_topics(topics: tf.Tensor, keys: tf.Tensor, known: tf.Tensor, count: int) -> tf.Tensor:
    """Picks up to `count` distinct known topics per user, those with the smallest keys.

    Args:
      topics: [batch, follows] int64 topic indices; a repeated topic counts once.
      keys: [batch, follows] int64 >= 0.
      known: [batch, follows] bool, topics that may be picked.
      count: number of explicit slots.

    Returns:
      [batch, count] int32 positions in `topics`, in the order of the follows; -1 for none.
    """
    width = tf.shape(topics)[1]
    same = topics[:, :, tf.newaxis] == topics[:, tf.newaxis, :]  # [B, F, F]
    position = tf.range(width)
    earlier = position[tf.newaxis, :] < position[:, tf.newaxis]
    repeated = tf.reduce_any(tf.logical_and(same, earlier[tf.newaxis]), axis=2)
    usable = tf.logical_and(known, tf.logical_not(repeated))
    order = tf.argsort(tf.where(usable, keys, _LAST_KEY), axis=1, stable=True)
    rank = tf.argsort(order, axis=1)  # [B, F], place of each follow in the order of keys
    picked = tf.logical_and(usable, rank < count)
    # Keep the order of the follows: unpicked ones sort behind by getting a larger position.
    places = tf.sort(tf.where(picked, position[tf.newaxis], width), axis=1)[:, :count]
    places = tf.pad(places, [[0, 0], [0, count]], constant_values=-1)[:, :count]
    return tf.where(places < width, places, -1)


def _random_topic(item_topics: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One present topic per row of [batch, topics], uniformly; 0 where a row has none."""
    draw = tf.random.stateless_uniform(
        tf.shape(item_topics), randomness.salted(seed, randomness.CONDITION)
    )
    choice = tf.argmax(tf.where(item_topics > 0, draw, -1.0), axis=1, output_type=tf.int32)
    return tf.gather(item_topics, choice, batch_dims=1)
