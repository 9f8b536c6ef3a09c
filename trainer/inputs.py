"""Transformed examples as `tf.data`: parsed in blocks, bucketed by history length.

A block of many batches is parsed at once, sorted by history length and cut into
batches, each trimmed to its longest history. Order is a function of the seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from core.errors import TrainingError
from trainer import features
from trainer.records import check_files

_HISTORY = tuple(
    features.transformed_name(name)
    for name in (features.HISTORY_ITEM_ID, features.HISTORY_TIMESTAMP, features.HISTORY_ACTION)
)
_ITEM_ID = features.transformed_name(features.ITEM_ID)
_ITEM_TOPICS = features.transformed_name(features.ITEM_TOPICS)
_BATCHES_PER_BLOCK = 16
_READ_ROWS = 4096
_STREAM_ROWS = 65_536


def split_files(train_files: Sequence[str], split: str) -> list[str]:
    """Returns the files of another split that lies beside the training split.

    Args:
      train_files: file patterns such as `<uri>/Split-train/*`.
      split: name of the wanted split.

    Raises:
      TrainingError: the split has no file, or a file is damaged.
    """
    folders = {pattern.rsplit("/", 1)[0].rsplit("/", 1)[0] for pattern in train_files}
    patterns = [f"{folder}/Split-{split}/*" for folder in sorted(folders)]
    files = sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))
    if not files:
        raise TrainingError(f"split {split!r} has no transformed examples: {', '.join(patterns)}")
    check_files(files)
    return files


def train_batches(
    files: Sequence[str],
    spec: Mapping[str, Any],
    *,
    batch_size: int,
    shuffle_buffer: int,
    seed: int,
) -> tf.data.Dataset:
    """One epoch of training batches.

    Args:
      files: gzipped TFRecord files of transformed examples.
      spec: transformed feature spec.
      batch_size: examples per batch; only the last batch of an epoch may be smaller.
      shuffle_buffer: examples held for shuffling.
      seed: decides the order; pass another one for each epoch.

    Returns:
      Dataset of dicts of int64 tensors `[batch, width]`; history columns are trimmed to the
      longest history of the batch (at least 1).
    """
    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP", buffer_size=1 << 20)
    records = records.shuffle(shuffle_buffer, seed=seed, reshuffle_each_iteration=False)
    blocks = records.batch(_BATCHES_PER_BLOCK * batch_size).map(
        lambda block: _sorted_by_length(tf.io.parse_example(block, dict(spec))),
        num_parallel_calls=1,
    )
    batches = blocks.prefetch(1).flat_map(lambda block: _cut(block, batch_size, seed))
    return without_autotuning(batches.prefetch(8))


def replica_slices(batches: tf.data.Dataset, first: int, count: int, total: int) -> tf.data.Dataset:
    """Cuts each global batch into the slices of some replicas, one after the other.

    Slices differ by one example at most; one of a small last batch may be empty.

    Args:
      batches: global batches.
      first: number of the first replica.
      count: replicas from there on.
      total: replicas of the training.

    Returns:
      Dataset of slices, each with the targets of its global batch (`features.BATCH_TARGETS`,
      int64 `[global batch]`).
    """

    def slices(batch: dict[str, tf.Tensor]) -> tf.data.Dataset:
        targets = batch[_ITEM_ID][:, 0]
        rows = tf.size(targets, tf.int64)

        def one(replica: tf.Tensor) -> dict[str, tf.Tensor]:
            start, end = rows * replica // total, rows * (replica + 1) // total
            cut = {name: column[start:end] for name, column in batch.items()}
            return {**cut, features.BATCH_TARGETS: targets}

        return tf.data.Dataset.range(first, first + count).map(one)

    return without_autotuning(batches.flat_map(slices).prefetch(2 * count))


def count_examples(files: Sequence[str]) -> int:
    """Returns the number of examples in gzipped TFRecord files, which it reads."""
    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP", buffer_size=1 << 20)
    blocks = without_autotuning(records.batch(_READ_ROWS).map(tf.size))
    return int(blocks.reduce(0, lambda total, rows: total + rows))


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Turns tf.data's tuning thread off: every size here is given.

    The end of an iterator waits for that thread, which sleeps for periods that double up to
    a minute: an epoch of six seconds took ten.

    Args:
      dataset: any dataset.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def read_columns(
    files: Sequence[str], spec: Mapping[str, Any], *, limit: int | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Reads a whole split, or a seeded sample of it, into memory.

    Args:
      files: gzipped TFRecord files of transformed examples.
      spec: transformed feature spec.
      limit: at most so many examples, a random sample; None for all, in file order.
      seed: decides the sample.

    Returns:
      Arrays int64 `[examples, width]` by transformed name.
    """
    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP", buffer_size=1 << 20)
    if limit is not None:
        records = records.shuffle(max(20 * limit, 1), seed=seed).take(limit)
    blocks = records.batch(_READ_ROWS).map(lambda block: tf.io.parse_example(block, dict(spec)))
    parts = list(without_autotuning(blocks).as_numpy_iterator())
    if not parts:
        return {name: np.zeros((0, *feature.shape), np.int64) for name, feature in spec.items()}
    return {name: np.concatenate([part[name] for part in parts]) for name in spec}


def stream_columns(
    files: Sequence[str], spec: Mapping[str, Any], limit: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yields some columns of a split in blocks, in file order.

    Args:
      files: gzipped TFRecord files of transformed examples.
      spec: feature spec of the wanted columns alone.
      limit: at most so many examples.
    """
    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP", buffer_size=1 << 20)
    blocks = records.take(limit).batch(_STREAM_ROWS)
    parsed = blocks.map(lambda block: tf.io.parse_example(block, dict(spec)))
    yield from without_autotuning(parsed).as_numpy_iterator()


def item_topics_table(corpus: Mapping[str, np.ndarray], item_rows: int) -> np.ndarray:
    """Lays the topics of the catalogue out by item index.

    Args:
      corpus: columns of the transformed corpus split.
      item_rows: rows of the item tables.

    Returns:
      int32 `[item_rows, item_topics_max]`, topic indices; 0 where an item has no topic.
    """
    topics = corpus[_ITEM_TOPICS]
    table = np.zeros((item_rows, topics.shape[1]), np.int32)
    table[corpus[_ITEM_ID][:, 0]] = topics
    table[0] = 0
    return table


def _sorted_by_length(columns: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    length = _lengths(columns[_HISTORY[0]])
    order = tf.argsort(length, stable=True)
    return {name: tf.gather(column, order) for name, column in columns.items()}


def _lengths(history: tf.Tensor) -> tf.Tensor:
    """Position after the last non-padding item, int64 `[rows]`."""
    positions = tf.range(1, tf.shape(history)[1] + 1, dtype=tf.int64)
    return tf.reduce_max(tf.where(history > 0, positions, 0), axis=1)


def _cut(block: dict[str, tf.Tensor], batch_size: int, seed: int) -> tf.data.Dataset:
    """Cuts a sorted block into trimmed batches, in random order."""
    rows = tf.shape(block[_ITEM_ID])[0]
    starts = tf.range(0, rows, batch_size)
    order = tf.argsort(tf.random.stateless_uniform(tf.shape(starts), [seed, rows]))

    def batch(start: tf.Tensor) -> dict[str, tf.Tensor]:
        cut = {name: column[start : start + batch_size] for name, column in block.items()}
        width = tf.maximum(tf.reduce_max(_lengths(cut[_HISTORY[0]])), 1)
        return {n: (c[:, :width] if n in _HISTORY else c) for n, c in cut.items()}

    return tf.data.Dataset.from_tensor_slices(tf.gather(starts, order)).map(batch)
