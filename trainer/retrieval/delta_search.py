"""Search in an index and in the delta beside it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainer.retrieval.allowed import completed
from trainer.retrieval.delta import Delta
from trainer.retrieval.search import Searcher, best_rows, take_rows


class DeltaSearch(tf.Module):
    """Asks the index for what is not gone, and the delta exactly.

    With an empty delta a request is that of the index alone.
    """

    def __init__(self, base: Searcher, delta: Delta) -> None:
        """Keeps both.

        Args:
          base: searcher of the index.
          delta: what differs from it.
        """
        super().__init__(name="delta_search")
        self.base, self.delta = base, delta
        self.few = base.few

    def search(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Searcher.search`; a list that gone items made short is searched exactly."""

        def both() -> tuple[tf.Tensor, tf.Tensor]:
            live = tf.convert_to_tensor(self.delta.live)
            found = self.search_allowed(queries, k, live, self.delta.share)
            wanted = tf.minimum(k, tf.size(live) - tf.size(self.delta.gone))
            return completed(self, queries, wanted, live, found)

        return tf.cond(self.delta.empty(), lambda: self.base.search(queries, k), both)

    def search_allowed(
        self, queries: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor, share: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Searcher.search_allowed`; `allowed` holds no item that is gone."""
        of_base, of_delta = allowed[: self.delta.items], allowed[self.delta.items :]
        base = self.base.search_allowed(queries, k, of_base, share)
        rows, scores = self.delta.exact.search_allowed(queries, k, of_delta, share)
        return _best_of(base, (rows, scores), self.delta.items, k)

    def vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """See `Searcher.vectors`."""
        items = self.delta.items

        def both() -> tf.Tensor:
            own = self.base.vectors(tf.minimum(rows, items - 1))
            changed = take_rows(self.delta.vectors, tf.maximum(rows - items, 0))
            return tf.where((rows < items)[..., None], own, changed)

        found = tf.cond(self.delta.size() > 0, both, lambda: self.base.vectors(rows))
        return tf.ensure_shape(found, [*rows.shape, self.delta.vectors.shape[1]])


class DeltaTopicFilter(tf.Module):
    """Finds the best items of a topic in the index and in the delta."""

    def __init__(self, base: Any, delta: Delta) -> None:
        """Keeps both.

        Args:
          base: `TopicFilter` of the index.
          delta: what differs from it.
        """
        super().__init__(name="delta_topic_filter")
        self.base, self.delta = base, delta

    def search(
        self,
        queries: tf.Tensor,
        topics: tf.Tensor,
        k: tf.Tensor,
        allowed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `TopicFilter.search`; `allowed` holds no item that is gone."""
        items = self.delta.items

        def both() -> tuple[tf.Tensor, tf.Tensor]:
            live = tf.convert_to_tensor(self.delta.live) if allowed is None else allowed
            group = self.delta.by_topic.group(topics)
            base = self.base.search(queries, topics, k, live[:items])
            changed = self.delta.of_topic.search(queries, group, k, live[items:])
            return _best_of(base, changed, items, k)

        def one() -> tuple[tf.Tensor, tf.Tensor]:
            mask = None if allowed is None else allowed[:items]
            return self.base.search(queries, topics, k, mask)

        return tf.cond(self.delta.empty(), one, both)


def _best_of(
    base: tuple[tf.Tensor, tf.Tensor],
    delta: tuple[tf.Tensor, tf.Tensor],
    items: int,
    k: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the k best of two lists of k each; equal scores keep the order of the rows."""
    moved = tf.where(delta[0] >= 0, delta[0] + items, delta[0])
    return best_rows(tf.concat([base[0], moved], axis=1), tf.concat([base[1], delta[1]], axis=1), k)
