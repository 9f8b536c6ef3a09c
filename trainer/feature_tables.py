"""Vectors of item and user features: tables of indices, projections of floats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

from core.feature_config import FeaturesConfig
from trainer import features
from trainer.feature_values import feature_name
from trainer.interests.base import masked_mean


class FeatureColumn(NamedTuple):
    """One transformed feature.

    Attributes:
      name: of the transformed feature.
      rows: of its table; 0 for one of floats, which is projected.
      tokens: of rows 1, 2, ..., where it has a vocabulary.
    """

    name: str
    rows: int
    tokens: list[bytes] | None = None

    @property
    def weights(self) -> str:
        """Name of its layer."""
        return f"feature_{self.name.removesuffix('_xf').replace('.', '_')}"


#: Features by side, `items` and `users`.
FeatureColumns = Mapping[str, tuple[FeatureColumn, ...]]


def feature_columns(transform_output: Any, config: FeaturesConfig) -> FeatureColumns:
    """Reads what a transform graph made of features.

    Args:
      transform_output: a `tft.TFTransformOutput`.
      config: the features that the graph was built with.
    """
    found: dict[str, tuple[FeatureColumn, ...]] = {}
    for side, named in (("items", config.items), ("users", config.users)):
        columns = []
        for name, feature in named.items():
            full, tokens, rows = feature_name(side, name), None, 0
            if feature.kind == "number":
                rows = 1 + feature.buckets if feature.buckets else 0
            elif feature.hash_buckets:
                rows = 1 + feature.hash_buckets
            elif feature.kind != "embedding":
                tokens = transform_output.vocabulary_by_name(full)
                rows = 1 + len(tokens)
            columns.append(FeatureColumn(features.transformed_name(full), rows, tokens))
        found[side] = tuple(columns)
    return found


class FeatureEncoder(tf_keras.layers.Layer):
    """The sum of what features say, a vector each; a missing one says nothing."""

    def __init__(self, side: str, columns: tuple[FeatureColumn, ...], dim: int) -> None:
        super().__init__(name=f"{side}_features")
        self.columns = columns
        start = tf_keras.initializers.RandomNormal(stddev=dim**-0.5)
        self.layers = {
            column.name: tf_keras.layers.Embedding(
                column.rows, dim, embeddings_initializer=start, name=column.weights
            )
            if column.rows
            else tf_keras.layers.Dense(
                dim, use_bias=False, kernel_initializer=start, name=column.weights
            )
            for column in columns
        }

    def call(self, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[rows, dim]` float32.

        Args:
          values: transformed features by name, `[rows, width]` each.
        """
        parts = []
        for column in self.columns:
            given = values[column.name]
            vectors = self.layers[column.name](given)
            parts.append(masked_mean(vectors, given > 0) if column.rows else vectors)
        return tf.add_n(parts)


def encoder_of(side: str, known: FeatureColumns, dim: int) -> FeatureEncoder | None:
    """Returns the encoder of one side's features; None where there are none."""
    columns = known.get(side, ())
    return FeatureEncoder(side, columns, dim) if columns else None


def table_variables(tables: Mapping[str, np.ndarray]) -> dict[str, tf.Variable]:
    """Returns what `value_tables` made as variables that no gradient reaches."""
    return {n: tf.Variable(t, False, name=n.replace(".", "_")) for n, t in tables.items()}


def value_tables(
    corpus: Mapping[str, np.ndarray], columns: FeatureColumns, item_rows: int
) -> dict[str, np.ndarray]:
    """Lays the features of the catalogue out by item index.

    Args:
      corpus: columns of the transformed corpus split.
      columns: the features.
      item_rows: rows of the item tables.

    Returns:
      int32 or float32 `[item_rows, width]` by name; 0 for items that are not in the catalogue.
    """
    rows = corpus[features.transformed_name(features.ITEM_ID)][:, 0]
    found = {}
    for column in columns.get("items", ()):
        values = corpus[column.name]
        table = np.zeros((item_rows, values.shape[1]), np.int32 if column.rows else np.float32)
        table[rows] = values
        table[0] = 0
        found[column.name] = table
    return found
