"""Items spread over several indexes: which shard an item is in, and the search of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import tensorflow as tf

from trainer.retrieval.search import Searcher, best_rows


def shard_of(item_ids: Sequence[bytes], shards: int) -> np.ndarray:
    """Returns each item's shard, `[items]` int64: a hash of its id, the same in every catalogue."""
    ids = tf.constant(np.asarray(item_ids, object), tf.string, [len(item_ids)])
    return np.asarray(tf.strings.to_hash_bucket_fast(ids, shards).numpy())


class ShardedSearch(tf.Module):
    """Asks the index of every shard and keeps the best: what one index would find.

    The rows of a shard follow one another in the catalogue.
    """

    def __init__(self, shards: Sequence[Searcher], sizes: Sequence[int]) -> None:
        """Keeps the searchers.

        Args:
          shards: one per shard, in the order of the catalogue.
          sizes: items of each.
        """
        super().__init__(name="sharded_search")
        self.shards = list(shards)
        self._bounds = [0, *np.cumsum(sizes).tolist()]
        self.few = sum(shard.few for shard in shards)

    def search(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Searcher.search`; equal scores keep the order of the items."""
        return self._best(lambda shard, first, last: shard.search(queries, k), k)

    def search_allowed(
        self, queries: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor, share: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Searcher.search_allowed`; each shard has a share of its own."""
        del share

        def asked(shard: Searcher, first: int, last: int) -> tuple[tf.Tensor, tf.Tensor]:
            own = allowed[first:last]
            count = tf.maximum(tf.reduce_sum(tf.cast(own, tf.float32)), 1.0)
            return shard.search_allowed(queries, k, own, count / float(last - first))

        return self._best(asked, k)

    def vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """See `Searcher.vectors`."""
        found = None
        for shard, (first, last) in zip(self.shards, pairwise(self._bounds), strict=True):
            own = shard.vectors(tf.clip_by_value(rows - first, 0, last - first - 1))
            found = own if found is None else tf.where((rows >= first)[..., None], own, found)
        return found

    def _best(
        self, search: Callable[[Searcher, int, int], tuple[tf.Tensor, tf.Tensor]], k: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        rows, scores = [], []
        for shard, (first, last) in zip(self.shards, pairwise(self._bounds), strict=True):
            own, score = search(shard, first, last)
            rows.append(tf.where(own >= 0, own + first, own))
            scores.append(score)
        return best_rows(tf.concat(rows, axis=1), tf.concat(scores, axis=1), k)
