"""Texts `name=value` of features to numbers, in the transform graph.

Training, the catalogue and requests all give features as such texts, and this graph is the only
place where they are read. What is missing, unknown or of another kind has index 0, or 0.0.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
import tensorflow_transform as tft

from core.feature_config import FeatureConfig
from trainer import features

_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
#: Standard deviations from the mean at which a normalised number ends.
_FARTHEST = 10.0


def feature_name(side: str, name: str) -> str:
    """Returns what a feature is called beside those of the contract.

    Args:
      side: `items` or `users`.
      name: of the feature.
    """
    return f"{side}.{name}"


def transformed(
    texts: tf.SparseTensor, side: str, named: Mapping[str, FeatureConfig]
) -> dict[str, tf.Tensor]:
    """Returns the transformed features of one side by name.

    Args:
      texts: string `[batch, *]`, `name=value`; others than those of known names are passed over.
      side: `items` or `users`.
      named: the features.

    Returns:
      int64 `[batch, max_values]` indices for `category` (1 value) and `list`, `[batch, 1]` for
      `number` with buckets; float32 `[batch, size + 1]` for `embedding` and normalised `number`
      (size 1), whose last value says that there is one.
    """
    found = {}
    for name, feature in named.items():
        full = feature_name(side, name)
        values = _values(texts, name)
        if feature.kind in ("category", "list"):
            width = feature.max_values if feature.kind == "list" else 1
            flat = _indices(values.values, full, feature.hash_buckets)
            made = values.with_values(flat).to_tensor(0, shape=[None, width])
        elif feature.kind == "number" and feature.buckets:
            numbers = _numbers(values)
            buckets = tft.bucketize(numbers.values, feature.buckets, name=f"{side}_{name}")
            made = numbers.with_values(buckets + 1).to_tensor(0, shape=[None, 1])
        elif feature.kind == "number":
            numbers = _numbers(values)
            made = _present(numbers.with_values(_normalised(numbers.values)[:, tf.newaxis]), 1)
        else:
            made = _present(_vectors(values, feature.size), feature.size)
        found[features.transformed_name(full)] = made
    return found


def _values(texts: tf.SparseTensor, name: str) -> tf.RaggedTensor:
    """Returns the values of one feature, string ragged `[batch, *]`."""
    own = tf.strings.regex_full_match(texts.values, f"(?s){name}=.*")
    values = tf.strings.regex_replace(tf.boolean_mask(texts.values, own), f"^{name}=", "")
    rows = tf.boolean_mask(texts.indices[:, 0], own)
    return tf.RaggedTensor.from_value_rowids(values, rows, texts.dense_shape[0], validate=False)


def _indices(values: tf.Tensor, vocabulary: str, hash_buckets: int) -> tf.Tensor:
    if hash_buckets:
        index = tf.strings.to_hash_bucket_fast(values, hash_buckets) + 1
    else:
        index = 1 + tft.compute_and_apply_vocabulary(
            values, default_value=-1, vocab_filename=vocabulary
        )
    return tf.where(tf.equal(values, ""), tf.zeros_like(index), index)


def _numbers(values: tf.RaggedTensor) -> tf.RaggedTensor:
    """Returns those values that are numbers, float32 ragged `[batch, *]`."""
    good = tf.strings.regex_full_match(values.values, _NUMBER)
    numbers = tf.strings.to_number(tf.boolean_mask(values.values, good))
    return tf.RaggedTensor.from_value_rowids(
        numbers, tf.boolean_mask(values.value_rowids(), good), values.nrows(), validate=False
    )


def _normalised(values: tf.Tensor) -> tf.Tensor:
    mean, variance = tft.mean(values), tft.var(values)
    scaled = (values - mean) / tf.maximum(tf.sqrt(variance), 1e-6)
    return tf.clip_by_value(scaled, -_FARTHEST, _FARTHEST)


def _vectors(values: tf.RaggedTensor, size: int) -> tf.RaggedTensor:
    """Returns those values that are `size` floats, float32 ragged `[batch, *, size]`."""
    parts = tf.strings.split(tf.strings.regex_replace(values.values, r"[\s,;|]+", " "))
    numbers = tf.strings.regex_full_match(parts.values, _NUMBER)
    wrong = tf.RaggedTensor.from_row_splits(
        tf.cast(~numbers, tf.int32), parts.row_splits, validate=False
    )
    good = (tf.reduce_sum(wrong, axis=1) == 0) & (parts.row_lengths() == size)
    floats = tf.strings.to_number(tf.ragged.boolean_mask(parts, good).values)
    floats = tf.where(tf.math.is_finite(floats), floats, 0.0)
    return tf.RaggedTensor.from_value_rowids(
        tf.reshape(floats, [-1, size]),
        tf.boolean_mask(values.value_rowids(), good),
        values.nrows(),
        validate=False,
    )


def _present(vectors: tf.RaggedTensor, size: int) -> tf.Tensor:
    """Returns the first vector of each row and whether there is one, `[batch, size + 1]`."""
    ones = tf.ones_like(vectors.values[:, :1])
    both = vectors.with_values(tf.concat([vectors.values, ones], axis=1))
    return tf.reshape(both.to_tensor(0.0, shape=[None, 1, size + 1]), [-1, size + 1])
