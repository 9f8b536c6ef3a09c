"""Exact search within groups of items: one matrix product per group that is asked for."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.retrieval.search import CHUNK_ELEMENTS, pad_columns, take_rows

#: Bytes up to which a copy of the vectors in group order is kept (faster than gathering).
COPY_MAX_BYTES = 256 << 20


class SliceSearch(tf.Module):
    """Finds the best items of a given group for each query."""

    def __init__(
        self,
        embeddings: tf.Variable,
        starts: np.ndarray,
        rows: np.ndarray,
        chunk_elements: int = CHUNK_ELEMENTS,
        always_copy: bool = False,
    ) -> None:
        """Sorts the vectors by group.

        Args:
          embeddings: `[items, dim]` float32 variable.
          starts: `[groups + 1]` int32 offsets into `rows`.
          rows: `[entries]` int32 item rows, those of a group together.
          chunk_elements: scores held at once.
          always_copy: keep a copy whatever its size, and never the variable.
        """
        super().__init__(name="slice_search")
        vectors = embeddings.numpy()
        self._chunk_elements = chunk_elements
        self.starts = tf.Variable(starts, trainable=False)
        self.rows = tf.Variable(rows, trainable=False)
        copy_bytes = len(rows) * vectors.shape[1] * vectors.itemsize
        self.copy = (
            tf.Variable(vectors[rows], trainable=False)
            if always_copy or copy_bytes <= COPY_MAX_BYTES
            else None
        )
        # Kept only where it is read, so that it is not saved for nothing.
        self.embeddings = embeddings if self.copy is None else None

    @classmethod
    def gathered(
        cls, embeddings: tf.Variable, starts: tf.Variable, rows: tf.Variable
    ) -> SliceSearch:
        """Returns a search over variables that may be filled later; nothing is copied."""
        own = object.__new__(cls)
        tf.Module.__init__(own, name="slice_search")
        own._chunk_elements = CHUNK_ELEMENTS
        own.starts, own.rows = starts, rows
        own.copy, own.embeddings = None, embeddings
        return own

    def search(
        self,
        queries: tf.Tensor,
        group: tf.Tensor,
        k: tf.Tensor,
        allowed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the best items of each query's group.

        Args:
          queries: `[queries, dim]` float32, finite.
          group: `[queries]` int32; -1 has no items.
          k: scalar int32.
          allowed: `[items]` bool, items that may be brought; all without it.

        Returns:
          `(rows, scores)`, both `[queries, k]`: int32 with -1 pads, float32 with
          -inf pads.
        """
        order = tf.argsort(group, stable=True)
        group = tf.gather(group, order)
        queries = tf.gather(queries, order)
        count = tf.shape(queries)[0]
        group_end = tf.searchsorted(group, group, side="right")

        def body(
            done: tf.Tensor, step: tf.Tensor, rows: tf.TensorArray, scores: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray, tf.TensorArray]:
            start, size = self._slice_of(group, done)
            until = tf.cond(done < count, lambda: group_end[done], lambda: 0)
            most = tf.maximum(self._chunk_elements // tf.maximum(size, 1), 1)
            until = tf.minimum(until, done + most)
            vectors = self._vectors(start, size)
            matrix = tf.matmul(queries[done:until], vectors, transpose_b=True)
            members = self.rows[start : start + size]
            if allowed is not None:
                matrix += tf.where(tf.gather(allowed, members), 0.0, -np.inf)
            best, index = tf.math.top_k(matrix, tf.minimum(k, size))
            found = tf.gather(members, index)
            if allowed is not None:
                found = tf.where(tf.math.is_finite(best), found, -tf.ones_like(found))
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

    def _slice_of(self, group: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns first row and number of rows of the group at a position (0, 0: none)."""
        known = tf.cond(position < tf.shape(group)[0], lambda: group[position], lambda: -1)
        bounds = take_rows(
            self.starts, tf.stack([known, known + 1]) * tf.cast(known >= 0, tf.int32)
        )
        size = tf.where(known >= 0, bounds[1] - bounds[0], 0)
        return bounds[0], size

    def _vectors(self, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        if self.copy is not None:
            return self.copy[start : start + size]
        return take_rows(self.embeddings, self.rows[start : start + size])


def _growing(dtype: tf.DType) -> tf.TensorArray:
    return tf.TensorArray(
        dtype, 1, dynamic_size=True, element_shape=[None, None], infer_shape=False
    )
