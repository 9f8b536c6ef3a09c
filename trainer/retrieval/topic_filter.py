"""Exact search among the items of one topic.

Over-fetching and filtering starves small topics; a slice of a topic-sorted row
list is exact and no slower. Pairs of the same topic in a batch share one
matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainer.retrieval.search import CHUNK_ELEMENTS
from trainer.retrieval.slices import SliceSearch

#: Items a topic is searched in; of larger topics the most typical items are kept.
TOPIC_MAX_ITEMS = 50_000


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
        names, starts, rows = topic_rows(item_topics, embeddings.numpy(), max_items)
        self.slices = SliceSearch(embeddings, starts, rows, chunk_elements)
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(names or [b""], tf.string),
                tf.constant(np.arange(len(names)) if names else [-1], tf.int32),
            ),
            default_value=-1,
        )

    def search(
        self,
        queries: tf.Tensor,
        topics: tf.Tensor,
        k: tf.Tensor,
        allowed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the best items of each query's topic.

        Args:
          queries: `[queries, dim]` float32, finite.
          topics: `[queries]` string; an unknown topic has no items.
          k: scalar int32.
          allowed: `[items]` bool, items that may be brought; all without it.

        Returns:
          `(rows, scores)`, both `[queries, k]`: int32 with -1 pads, float32 with
          -inf pads.
        """
        return self.slices.search(queries, self.table.lookup(topics), k, allowed)
