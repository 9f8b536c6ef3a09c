"""Measures one point of the cost experiment, in a process of its own.

    python -m research.experiment.cost_worker POINT.json OUT.json

The examples are synthetic and already transformed: what is measured is the model and
the retriever, not the reading of files or the transform graph.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from core.files import read_json, write_json
from research.experiment.cost_config import CostConfig, CostPoint
from research.experiment.timing import percentiles_ms
from research.work import work
from trainer import features
from trainer.config import ModelConfig, RetrievalConfig, TrainerConfig, TransformConfig
from trainer.export import EmbeddingModule
from trainer.model import RetrievalModel
from trainer.retrieval.retriever import Retriever
from trainer.vocabularies import Vocabularies

_TOPICS, _TOPICS_PER_ITEM, _FOLLOWS = 200, 3, 5
_BATCHES = 4
_WARM_UP_REQUESTS = 5
_ITEMS_PER_CALL = 1 << 16


class SyntheticTransform:
    """Stands in for a transform graph whose tokens are decimal numbers.

    `EmbeddingModule` asks a `tft.TFTransformOutput` for these two methods and no more.
    """

    def __init__(self, config: TransformConfig) -> None:
        self._config = config

    def transformed_feature_spec(self) -> dict[str, tf.io.FixedLenFeature]:
        """Returns the spec that Transform would have written."""
        config = self._config
        widths = {
            features.HISTORY_ITEM_ID: config.history_max_items,
            features.HISTORY_TIMESTAMP: config.history_max_items,
            features.HISTORY_ACTION: config.history_max_items,
            features.FOLLOWED_TOPIC: config.follows_max_topics,
            features.ITEM_ID: 1,
            features.ITEM_TOPICS: config.item_topics_max,
            features.SOURCE_TOPIC: 1,
            features.SOURCE_TOPIC_DERIVED: 1,
        }
        return {
            features.transformed_name(name): tf.io.FixedLenFeature([width], tf.int64)
            for name, width in widths.items()
        }

    def transform_features_layer(self) -> Callable[[Mapping[str, Any]], dict[str, tf.Tensor]]:
        """Returns what turns raw features into transformed ones."""
        spec = self.transformed_feature_spec()

        def transform(raw: Mapping[str, Any]) -> dict[str, tf.Tensor]:
            columns = {}
            for name in (*features.USER_FEATURES[1:], *features.ITEM_FEATURES):
                width = spec[features.transformed_name(name)].shape[0]
                columns[features.transformed_name(name)] = _numbers(raw[name], width)
            return columns

        return transform


def _numbers(values: tf.Tensor | tf.SparseTensor, width: int) -> tf.Tensor:
    """Decimal tokens as int64 `[rows, width]`: cut or padded with 0."""
    dense = tf.sparse.to_dense(values) if isinstance(values, tf.SparseTensor) else values
    if dense.dtype == tf.string:
        dense = tf.strings.to_number(tf.where(dense == "", "0", dense), tf.int64)
    dense = dense[:, :width]
    return tf.pad(dense, [[0, 0], [0, width - tf.shape(dense)[1]]])


def transform_config(point: CostPoint) -> TransformConfig:
    """Returns the widths of the transformed features at a point."""
    return TransformConfig(history_max_items=point.history_length)


def make_model(name: str, point: CostPoint, topics: np.ndarray) -> RetrievalModel:
    """Builds and compiles a model over a synthetic catalogue.

    Args:
      name: of the model.
      point: its sizes.
      topics: [item rows, topics] int32, topics of every item index.
    """
    tf_keras.utils.set_random_seed(1)
    transform = transform_config(point)
    model = RetrievalModel(
        ModelConfig.model_validate(
            {
                "name": name,
                "embedding_dim": point.embedding_dim,
                "num_interests": point.num_interests,
            }
        ),
        TrainerConfig(batch_size=point.batch_size, uniform_negatives=point.negatives),
        transform,
        _vocabularies(point.items, transform),
        topics,
        _item_clusters(len(topics)),
    )
    model.compile(optimizer=tf_keras.optimizers.Adam(1e-3))
    model.build_from(SyntheticTransform(transform).transformed_feature_spec())
    return model


def _vocabularies(items: int, transform: TransformConfig) -> Vocabularies:
    return Vocabularies(
        items=[b"%d" % index for index in range(1, items + 1)],
        topics=[b"%d" % index for index in range(1, _TOPICS + 1)],
        actions=[b"1"],
        item_counts=np.ones(items),
        item_oov_buckets=transform.item_oov_buckets,
        topic_oov_buckets=transform.topic_oov_buckets,
    )


def _item_clusters(item_rows: int) -> np.ndarray:
    """Offline clusters, which `pfs` alone reads."""
    return (np.arange(item_rows) % ModelConfig().item_clusters).astype(np.int32)


def item_topics(point: CostPoint) -> np.ndarray:
    """Draws the topics of every item index, int32 `[item rows, item_topics_max]`."""
    transform = transform_config(point)
    rows = 1 + point.items + transform.item_oov_buckets
    table = np.zeros((rows, transform.item_topics_max), np.int32)
    drawn = np.random.default_rng(0).integers(1, _TOPICS + 1, (point.items, _TOPICS_PER_ITEM))
    table[1 : 1 + point.items, :_TOPICS_PER_ITEM] = drawn
    return table


def training_columns(point: CostPoint, topics: np.ndarray) -> dict[str, np.ndarray]:
    """Draws a few batches of transformed examples whose histories are full.

    Returns:
      int64 `[batches, batch, width]` by transformed name.
    """
    random = np.random.default_rng(1)
    transform, shape = transform_config(point), (_BATCHES, point.batch_size)
    history = (*shape, point.history_length)
    target = random.integers(1, point.items + 1, (*shape, 1))
    follows = np.zeros((*shape, transform.follows_max_topics), np.int64)
    follows[..., :_FOLLOWS] = random.integers(1, _TOPICS + 1, (*shape, _FOLLOWS))
    columns = {
        features.HISTORY_ITEM_ID: random.integers(1, point.items + 1, history),
        features.HISTORY_TIMESTAMP: random.integers(1, transform.age_buckets + 1, history),
        features.HISTORY_ACTION: np.ones(history, np.int64),
        features.FOLLOWED_TOPIC: follows,
        features.ITEM_ID: target,
        features.ITEM_TOPICS: topics[target[..., 0]].astype(np.int64),
        features.SOURCE_TOPIC: follows[..., :1],
        features.SOURCE_TOPIC_DERIVED: np.zeros((*shape, 1), np.int64),
    }
    return {features.transformed_name(name): column for name, column in columns.items()}


def measure_training(
    model: RetrievalModel, columns: Mapping[str, np.ndarray], config: CostConfig
) -> dict[str, float]:
    """Times whole training steps, one by one.

    Args:
      model: a compiled model.
      columns: int64 `[batches, batch, width]`.
      config: steps of warm-up and seconds.

    Returns:
      `step_ms` (median), `examples_per_s` and `peak_mb` of the process so far, which
      holds TensorFlow itself.
    """
    batches = tf.data.Dataset.from_tensor_slices(dict(columns)).cache().repeat()
    iterator, step = iter(batches.prefetch(2)), model.make_train_function()
    for _ in range(config.warm_up_steps):
        step(iterator)
    times: list[float] = []
    until = time.perf_counter() + config.seconds_per_point
    while len(times) < 3 or time.perf_counter() < until:
        started = time.perf_counter()
        float(step(iterator)["loss"])  # waits for the result
        times.append(time.perf_counter() - started)
    median = float(np.median(times))
    return {
        "step_ms": round(1e3 * median, 2),
        "examples_per_s": round(model.trainer_config.batch_size / median, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def measure_serving(
    model: RetrievalModel, point: CostPoint, topics: np.ndarray, config: CostConfig
) -> dict[str, float]:
    """Times requests of one user: the embeddings alone, and the whole retriever.

    Args:
      model: the model.
      point: its sizes.
      topics: [item rows, topics] int32.
      config: requests and results.

    Returns:
      `embed_user_p50_ms`, `embed_user_p99_ms` (all slots of the user) and
      `retrieve_p50_ms` (embeddings, exact search over the catalogue, merge).
    """
    module = EmbeddingModule(model, SyntheticTransform(transform_config(point)))
    retriever = Retriever(
        module,
        model.vocabularies.items,
        [[b"%d" % topic for topic in row if topic] for row in topics[1 : 1 + point.items]],
        _item_vectors(model, point.items),
        RetrievalConfig(num_results=config.num_results),
    )
    requests = _requests(point, config.requests)
    embed, retrieve = (
        percentiles_ms(call, requests, warm_up=_WARM_UP_REQUESTS, timed=config.requests)
        for call in (
            lambda **request: module.embed_user(**request)["embeddings"].numpy(),
            lambda **request: retriever.retrieve(**request)["item_id"].numpy(),
        )
    )
    return {
        "embed_user_p50_ms": embed[0],
        "embed_user_p99_ms": embed[1],
        "retrieve_p50_ms": retrieve[0],
    }


def _item_vectors(model: RetrievalModel, items: int) -> np.ndarray:
    """Vectors of the catalogue, float32 `[items, dim]`."""
    parts = []
    for start in range(1, items + 1, _ITEMS_PER_CALL):
        ids = tf.range(start, min(start + _ITEMS_PER_CALL, items + 1), dtype=tf.int64)
        parts.append(model.item_tower(ids, tf.gather(model.item_topics, ids)).numpy())
    return np.concatenate(parts)


def _requests(point: CostPoint, count: int) -> list[dict[str, tf.Tensor]]:
    """Requests of one user each, with a full history."""
    random = np.random.default_rng(2)
    found = []
    for _ in range(count + _WARM_UP_REQUESTS):
        items = random.integers(1, point.items + 1, (1, point.history_length)).astype(str)
        topics = random.integers(1, _TOPICS + 1, (1, _FOLLOWS)).astype(str)
        found.append(
            {
                features.TIMESTAMP: tf.constant([1], tf.int64),
                features.HISTORY_ITEM_ID: tf.constant(items.astype(object), tf.string),
                features.HISTORY_TIMESTAMP: tf.ones(items.shape, tf.int64),
                features.HISTORY_ACTION: tf.fill(items.shape, "1"),
                features.FOLLOWED_TOPIC: tf.constant(topics.astype(object), tf.string),
            }
        )
    return found


def measure(name: str, point: CostPoint, config: CostConfig) -> dict[str, float]:
    """Returns all figures of one model at one point."""
    topics = item_topics(point)
    model = make_model(name, point, topics)
    trained = measure_training(model, training_columns(point, topics), config)
    return {**trained, **measure_serving(model, point, topics, config)}


def main(arguments: list[str]) -> None:
    """Reads the point, measures it and writes the figures."""
    asked = read_json(arguments[0])
    point, config = CostPoint(**asked["point"]), CostConfig(**asked["config"])
    started = time.monotonic()
    figures = measure(asked["model"], point, config)
    write_json(Path(arguments[1]), {**figures, "seconds": round(time.monotonic() - started, 1)})


if __name__ == "__main__":
    work(lambda pipe: main(sys.argv[1:]))
