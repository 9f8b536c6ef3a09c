"""Approximate search with stock operations: only the parts of the catalogue near a query."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.retrieval.search import few_items, take_rows, widened
from trainer.retrieval.slices import SliceSearch

#: Items that the centres are fitted on, at most this many per centre.
_SAMPLE_PER_PART = 64


class PartitionedSearch(tf.Module):
    """Searches exactly within the parts whose centres are nearest to a query.

    The parts come from k-means. Queries of a batch that look into the same part
    share one matrix product.
    """

    def __init__(
        self, embeddings: tf.Variable, centres: np.ndarray, part: np.ndarray, probed: int
    ) -> None:
        """Sorts the items by part.

        Args:
          embeddings: `[items, dim]` float32 variable; copied, not kept.
          centres: `[parts, dim]` float32.
          part: `[items]` part of each item.
          probed: parts that a query is searched in.
        """
        super().__init__(name="partitioned_search")
        sizes = np.bincount(part, minlength=len(centres))
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        rows = np.argsort(part, kind="stable").astype(np.int32)
        self.centres = tf.Variable(centres.astype(np.float32), trainable=False)
        self.slices = SliceSearch(embeddings, starts, rows, always_copy=True)
        self.place = tf.Variable(np.argsort(rows).astype(np.int32), trainable=False)
        self.probed = min(probed, len(centres))
        self.few = few_items(len(part))

    @classmethod
    def build(cls, embeddings: tf.Variable, parts: int, probed: int) -> PartitionedSearch:
        """Fits the parts with a fixed seed."""
        from sklearn.cluster import MiniBatchKMeans

        vectors = embeddings.numpy()
        parts = min(parts, len(vectors))
        sample = vectors[:: max(1, len(vectors) // (parts * _SAMPLE_PER_PART))]
        means = MiniBatchKMeans(parts, random_state=0, batch_size=4096, n_init=1, max_iter=20)
        means.fit(sample)
        return cls(embeddings, means.cluster_centers_, means.predict(vectors), probed)

    def with_probed(self, probed: int) -> PartitionedSearch:
        """Returns the same parts (shared variables) searched in another number of them."""
        other = object.__new__(PartitionedSearch)
        tf.Module.__init__(other, name="partitioned_search")
        other.centres, other.slices, other.place = self.centres, self.slices, self.place
        other.probed = min(probed, int(self.centres.shape[0]))
        other.few = self.few
        return other

    def search(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Searcher.search`; an item is in one part only, so none comes twice."""
        return self._search(queries, k, self.probed, None)

    def search_allowed(
        self, queries: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor, share: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Searcher.search_allowed`: as many more parts as items are left out."""
        probed = widened(share, self.probed, int(self.centres.shape[0]))
        return self._search(queries, k, probed, allowed)

    def _search(
        self,
        queries: tf.Tensor,
        k: tf.Tensor,
        probed: tf.Tensor | int,
        allowed: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        nearness = tf.matmul(queries, self.centres, transpose_b=True)
        _, part = tf.math.top_k(nearness, probed)
        rows, scores = self.slices.search(
            tf.repeat(queries, probed, axis=0), tf.reshape(part, [-1]), k, allowed
        )
        shape = [tf.shape(queries)[0], probed * k]
        best, place = tf.math.top_k(tf.reshape(scores, shape), k)
        return tf.gather(tf.reshape(rows, shape), place, batch_dims=1), best

    def vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """See `Searcher.vectors`; read from the copy in the order of the parts."""
        return take_rows(self.slices.copy, tf.gather(self.place, rows))
