"""Exact search for few queries among many items: the best blocks first, then the best in them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.retrieval.search import ExactSearch

#: Items of a block.
_BLOCK = 64
#: Blocks per wanted item from which looking at blocks first is faster.
_BLOCKS_PER_ITEM = 2


class BlockSearch(ExactSearch):
    """Gives the answers of `ExactSearch`, equal scores included, in less CPU time.

    The product has the items on the left, which is twice as fast for a handful of queries. Of
    `k` blocks with the best maxima every item that can be among the `k` best is in one, so the
    others are not sorted.
    """

    def scored(self, queries: tf.Tensor) -> tf.Tensor:
        """See `ExactSearch.scored`."""
        return tf.transpose(tf.matmul(self.embeddings, queries, transpose_b=True))

    def best(self, matrix: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `ExactSearch.best`."""
        items = tf.shape(matrix)[1]
        return tf.cond(
            items > _BLOCK * _BLOCKS_PER_ITEM * k,
            lambda: self._best_in_blocks(matrix, k),
            lambda: tuple(tf.math.top_k(matrix, k)),
        )

    @staticmethod
    def _best_in_blocks(matrix: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        queries, items = tf.unstack(tf.shape(matrix))
        padding = [[0, 0], [0, -items % _BLOCK]]
        blocks = tf.reshape(
            tf.pad(matrix, padding, constant_values=-np.inf),
            [queries, (items + _BLOCK - 1) // _BLOCK, _BLOCK],
        )
        _, chosen = tf.math.top_k(tf.reduce_max(blocks, axis=2), k)
        # In the order of the catalogue, so that equal scores are.
        chosen = tf.sort(chosen, axis=1)
        among = tf.reshape(tf.gather(blocks, chosen, batch_dims=1), [queries, k * _BLOCK])
        scores, place = tf.math.top_k(among, k)
        block = tf.gather(chosen, place // _BLOCK, batch_dims=1)
        return scores, block * _BLOCK + place % _BLOCK
