"""The transform graph: raw features to padded integer tensors.

The same graph runs in the Transform component and inside the exported
SavedModel, so a feature is defined once. Index 0 is padding everywhere; indices
1..V are vocabulary tokens; out-of-vocabulary hash buckets follow. An empty
string is padding, wherever it stands.

Cost is dominated by per-op and per-table overhead, so each vocabulary has one
table and one lookup over all the strings that use it.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from core.feature_config import FeaturesConfig
from trainer import feature_values, features
from trainer.config import TransformConfig

#: Vocabulary files of the transform graph.
ITEM_VOCABULARY = "item"
ITEM_FREQUENCY_VOCABULARY = "item_frequency"
TOPIC_VOCABULARY = "topic"
ACTION_VOCABULARY = "action"
#: Unknown actions share one bucket.
ACTION_OOV_BUCKETS = 1


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Turns raw features into what the model reads.

    Args:
      inputs: raw features; `user_id`, `timestamp` and `item_id` dense `[batch, 1]`, all
        others `tf.SparseTensor` `[batch, *]`.
      custom_config: holds the JSON of a `TransformConfig` under `transform` and, where there
        are any, that of a `FeaturesConfig` under `features`.

    Returns:
      int64 tensors by transformed name: `history_item_id` (newest first),
      `history_timestamp` (age bucket) and `history_action` `[batch, history_max_items]`,
      `followed_topic` `[batch, follows_max_topics]`, `item_topics` `[batch, item_topics_max]`,
      `item_id`, `source_topic` and `source_topic_derived` `[batch, 1]`; and those of
      `trainer.feature_values.transformed`.
    """
    config = TransformConfig.from_json(custom_config["transform"])
    item_id = inputs[features.ITEM_ID]
    item_topics = inputs[features.ITEM_TOPICS]
    followed = inputs[features.FOLLOWED_TOPIC]
    source_topic = inputs[features.SOURCE_TOPIC]
    history = inputs[features.HISTORY_ITEM_ID]
    history_action = inputs[features.HISTORY_ACTION]

    items, targets = _lookup(
        (history.values, tf.reshape(item_id, [-1])),
        _item_vocabulary(item_id),
        config.item_oov_buckets,
    )
    topics, follows, sources = _lookup(
        (item_topics.values, followed.values, source_topic.values),
        _vocabulary((item_topics.values, followed.values), TOPIC_VOCABULARY),
        config.topic_oov_buckets,
    )
    (actions,) = _lookup(
        (history_action.values,),
        _vocabulary((history_action.values, inputs[features.ACTION].values), ACTION_VOCABULARY),
        ACTION_OOV_BUCKETS,
    )
    ages = _age_buckets(
        inputs[features.TIMESTAMP], inputs[features.HISTORY_TIMESTAMP], config.age_buckets
    )
    history_len = config.history_max_items
    outputs = {
        features.HISTORY_ITEM_ID: _padded(history, items, history_len),
        features.HISTORY_TIMESTAMP: _padded(inputs[features.HISTORY_TIMESTAMP], ages, history_len),
        features.HISTORY_ACTION: _padded(history_action, actions, history_len),
        features.FOLLOWED_TOPIC: _padded(followed, follows, config.follows_max_topics),
        features.ITEM_ID: tf.ensure_shape(targets[:, tf.newaxis], [None, 1]),
        features.ITEM_TOPICS: _padded(item_topics, topics, config.item_topics_max),
        features.SOURCE_TOPIC: _padded(source_topic, sources, 1),
        features.SOURCE_TOPIC_DERIVED: _padded(
            inputs[features.SOURCE_TOPIC_DERIVED],
            inputs[features.SOURCE_TOPIC_DERIVED].values,
            1,
        ),
    }
    named = {features.transformed_name(name): value for name, value in outputs.items()}
    return {**named, **_further(inputs, custom_config.get("features"))}


def _further(inputs: dict[str, Any], config: str | None) -> dict[str, tf.Tensor]:
    """Returns the features of items and users; none for None."""
    if config is None:
        return {}
    named = FeaturesConfig.from_json(config)
    return {
        **feature_values.transformed(inputs[features.ITEM_VALUES], "items", named.items),
        **feature_values.transformed(inputs[features.USER_VALUES], "users", named.users),
    }


def _item_vocabulary(item_id: tf.Tensor) -> tf.Tensor:
    """Writes the item vocabulary twice, plain for the lookup and with frequencies for logQ."""
    tft.vocabulary(item_id, vocab_filename=ITEM_FREQUENCY_VOCABULARY, store_frequency=True)
    return tft.vocabulary(item_id, vocab_filename=ITEM_VOCABULARY)


def _vocabulary(values: tuple[tf.Tensor, ...], name: str) -> tf.Tensor:
    return tft.vocabulary(tf.concat(values, axis=0), vocab_filename=name)


def _lookup(
    values: tuple[tf.Tensor, ...], vocabulary: tf.Tensor, oov_buckets: int
) -> list[tf.Tensor]:
    """Looks several string vectors up in one table.

    Args:
      values: string vectors.
      vocabulary: deferred file name of the vocabulary.
      oov_buckets: number of hash buckets for unknown strings.

    Returns:
      int64 vectors of the same sizes: 0 for an empty string, otherwise 1 + index.
    """
    strings = tf.concat(values, axis=0)
    indices = tft.apply_vocabulary(strings, vocabulary, num_oov_buckets=oov_buckets)
    indices = tf.where(tf.equal(strings, ""), tf.zeros_like(indices), indices + 1)
    return tf.split(indices, [tf.size(value) for value in values])


def _age_buckets(timestamp: tf.Tensor, stamps: tf.SparseTensor, buckets: int) -> tf.Tensor:
    """Buckets the age of each history event: `1 + floor(log2(1 + age))`, exact on integers.

    Args:
      timestamp: int64 `[batch, 1]`, time of the request.
      stamps: int64 sparse `[batch, *]`, times of the history events.
      buckets: number of buckets; bucket `buckets` also holds everything older.

    Returns:
      int64 vector with values in [1, buckets], one per stored event.
    """
    now = tf.gather(tf.reshape(timestamp, [-1]), stamps.indices[:, 0])
    age = tf.maximum(now - stamps.values, 0)
    powers = tf.constant([2**exponent for exponent in range(min(buckets, 62))], tf.int64)
    found = tf.searchsorted(powers, age + 1, side="right", out_type=tf.int64)
    return tf.clip_by_value(found, 1, buckets)


def _padded(like: tf.SparseTensor, values: tf.Tensor, width: int) -> tf.Tensor:
    """Spreads values over a dense matrix: cut to `width`, padded with 0.

    Args:
      like: sparse `[batch, *]` that says where the values stand.
      values: int64 vector beside `like.indices`.
      width: number of columns.

    Returns:
      int64 `[batch, width]`.
    """
    keep = like.indices[:, 1] < width
    shape = tf.stack([like.dense_shape[0], tf.constant(width, tf.int64)])
    dense = tf.scatter_nd(tf.boolean_mask(like.indices, keep), tf.boolean_mask(values, keep), shape)
    return tf.ensure_shape(dense, [None, width])
