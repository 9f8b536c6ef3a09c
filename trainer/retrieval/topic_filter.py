"""Exact search among the items of one topic.

Over-fetching and filtering starves small topics; a slice of a topic-sorted row
list is exact and no slower. Pairs of the same topic in a batch share one
matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainer.retrieval.search import CHUNK_ELEMENTS, pad_columns

#: Items a topic is searched in; of larger topics the most typical items are kept.
TOPIC_MAX_ITEMS = 50_000
#: Bytes up to which a topic-sorted copy of the vectors is kept (faster than gathering).
COPY_MAX_BYTES = 256 << 20


def topic_rows(
    item_topics: Sequence[Sequence[bytes]], embeddings: np.ndarray, max_items: int
) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    """Inverts the item -> topics lists.

    Args:
      item_topics: topics of each item; repeated and empty names are ignored.
      embeddings: `[items, dim]` float32.
      max_items: rows kept per topic, those nearest to the topic's mean vector.

    Returns:
      `(topics, starts, rows)`: sorted names; `[topics + 1]` int32 offsets into
      `rows`; `[entries]` int32 item rows, rising within a topic.
    """
    members: dict[bytes, list[int]] = {}
    for row, topics in enumerate(item_topics):
        for topic in set(topics):
            if topic:
                members.setdefault(topic, []).append(row)
    names = sorted(members)
    lists = [_most_typical(np.asarray(members[n], np.int32), embeddings, max_items) for n in names]
    sizes = [len(rows) for rows in lists]
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int32)
    rows = np.concatenate(lists) if lists else np.zeros(0, np.int32)
    return names, starts, rows.astype(np.int32)


def _most_typical(rows: np.ndarray, embeddings: np.ndarray, max_items: int) -> np.ndarray:
    if len(rows) <= max_items:
        return rows
    vectors = embeddings[rows]
    nearest = np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable")[:max_items]
    return rows[np.sort(nearest)]


class TopicFilter(tf.Module):
    """Finds the best items of a given topic for each query."""

    def __init__(
        self,
        embeddings: tf.Variable,
        item_topics: Sequence[Sequence[bytes]],
        max_items: int = TOPIC_MAX_ITEMS,
        chunk_elements: int = CHUNK_ELEMENTS,
    ) -> None:
        """Sorts the items by topic.

        Args:
          embeddings: `[items, dim]` float32 variable.
          item_topics: topics of each item.
          max_items: items kept per topic.
          chunk_elements: scores held at once.
        """
        super().__init__(name="topic_filter")
        vectors = embeddings.numpy()
        names, starts, rows = topic_rows(item_topics, vectors, max_items)
        self._chunk_elements = chunk_elements
        self.starts = tf.Variable(starts, trainable=False)
        self.rows = tf.Variable(rows, trainable=False)
        copy_bytes = len(rows) * vectors.shape[1] * vectors.itemsize
        self.copy = (
            tf.Variable(vectors[rows], trainable=False) if copy_bytes <= COPY_MAX_BYTES else None
        )
        # Kept only where it is read, so that it is not saved for nothing.
        self.embeddings = embeddings if self.copy is None else None
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(names or [b""], tf.string),
                tf.constant(np.arange(len(names)) if names else [-1], tf.int32),
            ),
            default_value=-1,
        )

    def search(
        self, queries: tf.Tensor, topics: tf.Tensor, k: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the best items of each query's topic.

        Args:
          queries: `[queries, dim]` float32, finite.
          topics: `[queries]` string; an unknown topic has no items.
          k: scalar int32.

        Returns:
          `(rows, scores)`, both `[queries, k]`: int32 with -1 pads, float32 with
          -inf pads.
        """
        topic = self.table.lookup(topics)
        order = tf.argsort(topic, stable=True)
        topic = tf.gather(topic, order)
        queries = tf.gather(queries, order)
        count = tf.shape(queries)[0]
        group_end = tf.searchsorted(topic, topic, side="right")

        def body(
            done: tf.Tensor, step: tf.Tensor, rows: tf.TensorArray, scores: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray, tf.TensorArray]:
            start, size = self._slice_of(topic, done)
            until = tf.cond(done < count, lambda: group_end[done], lambda: 0)
            most = tf.maximum(self._chunk_elements // tf.maximum(size, 1), 1)
            until = tf.minimum(until, done + most)
            vectors = self._vectors(start, size)
            matrix = tf.matmul(queries[done:until], vectors, transpose_b=True)
            best, index = tf.math.top_k(matrix, tf.minimum(k, size))
            found = tf.gather(self.rows[start : start + size], index)
            found, best = pad_columns(found, best, k)
            return until, step + 1, rows.write(step, found), scores.write(step, best)

        _, _, rows, scores = tf.while_loop(
            lambda done, step, *_: (done < count) | tf.equal(step, 0),
            body,
            (
                tf.constant(0),
                tf.constant(0),
                _growing(tf.int32),
                _growing(tf.float32),
            ),
            parallel_iterations=1,
        )
        back = tf.argsort(order, stable=True)
        return tf.gather(rows.concat(), back), tf.gather(scores.concat(), back)

    def _slice_of(self, topic: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns first row and number of rows of the topic at a position (0, 0: none)."""
        known = tf.cond(position < tf.shape(topic)[0], lambda: topic[position], lambda: -1)
        bounds = tf.gather(
            self.starts, tf.stack([known, known + 1]) * tf.cast(known >= 0, tf.int32)
        )
        size = tf.where(known >= 0, bounds[1] - bounds[0], 0)
        return bounds[0], size

    def _vectors(self, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        if self.copy is not None:
            return self.copy[start : start + size]
        return tf.gather(self.embeddings, self.rows[start : start + size])


def _growing(dtype: tf.DType) -> tf.TensorArray:
    return tf.TensorArray(
        dtype, 1, dynamic_size=True, element_shape=[None, None], infer_shape=False
    )
