"""Search among allowed items: exact where they are few, over-fetched where they are many."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.retrieval.search import CHUNK_ELEMENTS, Searcher


def search_allowed(
    searcher: Searcher, queries: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the best allowed items of each query.

    Args:
      searcher: of the whole catalogue.
      queries: `[queries, dim]` float32, finite.
      k: scalar int32.
      allowed: `[items]` bool.

    Returns:
      `(rows, scores)`, both `[queries, k]`, see `Searcher.search`: as many items as are
      allowed, up to k.
    """
    count = tf.reduce_sum(tf.cast(allowed, tf.int32))
    share = tf.cast(count, tf.float32) / tf.cast(tf.size(allowed), tf.float32)

    def few() -> tuple[tf.Tensor, tf.Tensor]:
        return search_among(searcher, queries, k, tf.cast(tf.where(allowed)[:, 0], tf.int32))

    def many() -> tuple[tf.Tensor, tf.Tensor]:
        found = searcher.search_allowed(queries, k, allowed, share)
        return completed(searcher, queries, tf.minimum(k, count), allowed, found)

    return tf.cond(count <= searcher.few, few, many)


def completed(
    searcher: Searcher,
    queries: tf.Tensor,
    wanted: tf.Tensor,
    allowed: tf.Tensor,
    found: tuple[tf.Tensor, tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Searches exactly for the queries that found fewer items than are wanted.

    Args:
      searcher: of the whole catalogue.
      queries: `[queries, dim]` float32, finite.
      wanted: scalar int32, items that each query should have found.
      allowed: `[items]` bool.
      found: rows and scores, `[queries, k]`.
    """
    rows, scores = found
    short = tf.where(tf.reduce_sum(tf.cast(rows >= 0, tf.int32), axis=1) < wanted)

    def again() -> tuple[tf.Tensor, tf.Tensor]:
        every = tf.cast(tf.where(allowed)[:, 0], tf.int32)
        part = search_among(searcher, tf.gather_nd(queries, short), tf.shape(rows)[1], every)
        return (
            tf.tensor_scatter_nd_update(rows, short, part[0]),
            tf.tensor_scatter_nd_update(scores, short, part[1]),
        )

    return tf.cond(tf.size(short) > 0, again, lambda: (rows, scores))


def search_among(
    searcher: Searcher, queries: tf.Tensor, k: tf.Tensor, among: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores given items exactly, in chunks so that memory is bounded.

    Args:
      searcher: knows the vectors.
      queries: `[queries, dim]` float32.
      k: scalar int32.
      among: `[some]` int32 distinct item rows, rising.

    Returns:
      See `Searcher.search`; equal scores keep the order of the items.
    """
    size, count = tf.size(among), tf.shape(queries)[0]
    chunk = tf.maximum(CHUNK_ELEMENTS // tf.maximum(count, 1), 1024)
    chunk = tf.minimum(chunk, CHUNK_ELEMENTS // 64)

    def body(
        done: tf.Tensor, rows: tf.Tensor, scores: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        part = among[done : done + chunk]
        found = tf.matmul(queries, searcher.vectors(part), transpose_b=True)
        scores = tf.concat([scores, found], axis=1)
        best, place = tf.math.top_k(scores, k)
        # Places before k are of earlier chunks.
        older = tf.gather(rows, tf.minimum(place, k - 1), batch_dims=1)
        newer = tf.gather(part, tf.maximum(place - k, 0))
        return done + chunk, tf.where(place < k, older, newer), best

    nothing = tf.fill([count, k], tf.constant(-np.inf, tf.float32))
    _, rows, scores = tf.while_loop(
        lambda done, *_: done < size,
        body,
        (tf.constant(0), tf.fill([count, k], -1), nothing),
        shape_invariants=(tf.TensorShape([]),) + (tf.TensorShape([None, None]),) * 2,
        parallel_iterations=1,
    )
    return rows, scores
