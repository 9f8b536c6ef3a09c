"""Nearest items by dot product: exact, or with ScaNN's TensorFlow ops."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

#: Elements of the largest score matrix held at once (64 MiB of float32).
CHUNK_ELEMENTS = 1 << 24
#: Allowed items that are scored one by one at most; beyond, visiting more of an index is faster.
_FEW_ITEMS = 1 << 16
#: Nor more than this part of the catalogue, whether it is scanned or an index is searched.
_FEW_PARTS = 4


class Searcher(Protocol):
    """Finds the best items for each query.

    Attributes:
      few: allowed items up to which scoring each of them is faster than `search_allowed`.
    """

    few: int

    def search(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns item rows and scores, best first.

        Args:
          queries: `[queries, dim]` float32, finite.
          k: scalar int32, may exceed the number of items.

        Returns:
          `(rows, scores)`, both `[queries, k]`: int32 with -1 pads, float32 with
          -inf pads.
        """

    def search_allowed(
        self, queries: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor, share: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Searches more of the index for items that are allowed; fewer than k may be found.

        Args:
          queries: see `search`.
          k: see `search`.
          allowed: `[items]` bool.
          share: scalar float32, of the items that are allowed, above 0.
        """

    def vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the vectors of items, `[..., dim]` float32.

        Args:
          rows: int32 of any shape, each a row of the catalogue.
        """


def take_rows(variable: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Returns rows of a variable that is read whole elsewhere.

    `tf.gather` of the variable itself (the op `ResourceGather`) makes TensorFlow copy all of it
    whenever it is read from then on, so it is read whole here as well, which is free.
    """
    return tf.gather(tf.convert_to_tensor(variable), rows)


def pad_columns(rows: tf.Tensor, scores: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Widens `[queries, found]` results to `[queries, k]` with rows -1 and scores -inf."""
    missing = tf.maximum(k - tf.shape(rows)[1], 0)
    padding = [[0, 0], [0, missing]]
    return (
        tf.pad(rows, padding, constant_values=-1),
        tf.pad(scores, padding, constant_values=-np.inf),
    )


def few_items(items: int) -> int:
    """Returns the allowed items up to which an index scores them one by one."""
    return min(_FEW_ITEMS, items // _FEW_PARTS)


def widened(share: tf.Tensor, effort: tf.Tensor | int, most: tf.Tensor | int) -> tf.Tensor:
    """Returns how much of an index is visited, so that as many allowed items are seen.

    Args:
      share: of items that are allowed, above 0.
      effort: leaves, parts or candidates of an unfiltered search.
      most: of the index.
    """
    wanted = tf.math.ceil(tf.cast(effort, tf.float32) / share)
    return tf.cast(tf.minimum(wanted, tf.cast(most, tf.float32)), tf.int32)


def overfetch(share: tf.Tensor, k: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Returns how many neighbours are asked for, so that k allowed ones are rarely missed."""
    wanted = tf.cast(k, tf.float32)
    wanted = (1.1 * wanted + 4.0 * tf.sqrt(wanted)) / share
    return tf.maximum(tf.cast(tf.minimum(wanted, tf.cast(items, tf.float32)), tf.int32), k)


def best_rows(rows: tf.Tensor, scores: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the k best of `[queries, found]` results, padded; pads have the score -inf."""
    best, place = tf.math.top_k(scores, tf.minimum(k, tf.shape(rows)[1]))
    return pad_columns(tf.gather(rows, place, batch_dims=1), best, k)


def best_allowed(
    rows: tf.Tensor, scores: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the k best of `[queries, found]` results that are allowed, padded."""
    there = (rows >= 0) & tf.gather(allowed, tf.maximum(rows, 0))
    scores = tf.where(there, scores, tf.fill(tf.shape(scores), tf.constant(-np.inf, tf.float32)))
    return best_rows(tf.where(there, rows, -tf.ones_like(rows)), scores, k)


class ExactSearch(tf.Module):
    """Matrix product and top k, in chunks of queries so that memory is bounded."""

    def __init__(self, embeddings: tf.Variable, chunk_elements: int = CHUNK_ELEMENTS) -> None:
        """Keeps a reference to the items.

        Args:
          embeddings: `[items, dim]` float32 variable; the number of items may be open.
          chunk_elements: scores held at once.
        """
        super().__init__(name="exact_search")
        self.embeddings = embeddings
        self.few = (embeddings.shape[0] or 0) // _FEW_PARTS
        self._chunk_elements = chunk_elements

    def search(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Searcher.search`; equal scores keep the order of the items."""
        return self._search(queries, k, None)

    def search_allowed(
        self, queries: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor, share: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Searcher.search_allowed`; scores everything, so none is missed."""
        del share
        rows, scores = self._search(queries, k, tf.where(allowed, 0.0, -np.inf))
        return tf.where(tf.math.is_finite(scores), rows, -tf.ones_like(rows)), scores

    def _search(
        self, queries: tf.Tensor, k: tf.Tensor, handicap: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        count, items = tf.shape(queries)[0], tf.shape(self.embeddings)[0]
        size = tf.maximum(self._chunk_elements // tf.maximum(items, 1), 1)
        # One chunk at least: an empty batch then has results of the right shape.
        chunks = tf.maximum((count + size - 1) // size, 1)
        found = tf.minimum(k, items)

        def body(
            i: tf.Tensor, rows: tf.TensorArray, scores: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
            matrix = self.scored(queries[i * size : (i + 1) * size])
            matrix = matrix if handicap is None else matrix + handicap
            best, index = self.best(matrix, found)
            return i + 1, rows.write(i, index), scores.write(i, best)

        _, rows, scores = tf.while_loop(
            lambda i, *_: i < chunks,
            body,
            (
                tf.constant(0),
                tf.TensorArray(tf.int32, chunks, element_shape=[None, None], infer_shape=False),
                tf.TensorArray(tf.float32, chunks, element_shape=[None, None], infer_shape=False),
            ),
            parallel_iterations=1,
        )
        return pad_columns(rows.concat(), scores.concat(), k)

    def scored(self, queries: tf.Tensor) -> tf.Tensor:
        """Returns the score of every item, `[queries, items]` float32."""
        return tf.matmul(queries, self.embeddings, transpose_b=True)

    def best(self, matrix: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the k best scores of each row and their columns; equal ones in their order."""
        return tuple(tf.math.top_k(matrix, k))

    def vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """See `Searcher.vectors`."""
        return take_rows(self.embeddings, rows)


class ScannParameters(NamedTuple):
    """What a ScaNN index is built and searched with."""

    num_leaves: int
    leaves_to_search: int
    reorder: int
    anisotropic_threshold: float = 0.2
    dimensions_per_block: int = 2


def load_scann_ops() -> Any:
    """Registers ScaNN's ops (needed before a SavedModel with them is loaded)."""
    from scann.scann_ops.py import scann_ops

    return scann_ops


def configure_scann(builder: Any, parameters: ScannParameters) -> Any:
    """Applies parameters to a ScaNN builder, native or TensorFlow.

    `random_init=False` (k-means++) makes the index bit-identical from run to
    run, which the default is not.
    """
    return (
        builder.tree(
            num_leaves=parameters.num_leaves,
            num_leaves_to_search=parameters.leaves_to_search,
            training_sample_size=250_000,
            random_init=False,
        )
        .score_ah(
            parameters.dimensions_per_block,
            anisotropic_quantization_threshold=parameters.anisotropic_threshold,
        )
        .reorder(parameters.reorder)
    )


class ScannSearch(tf.Module):
    """ScaNN index whose state lives in variables, so that it is saved with the model.

    The searcher resource gets an explicit `shared_name` that is made from the
    index's content: without one, two indexes in one process may answer for each
    other, and a session holds one copy per signature.
    """

    def __init__(self, tensors: list[tf.Tensor], content: str, parameters: ScannParameters) -> None:
        """Keeps the index.

        Args:
          tensors: what ScaNN's `scann_to_tensors` returned.
          content: digest of the vectors and of how the index was built.
          parameters: searched with these; `num_leaves` must be the built one.
        """
        super().__init__(name="scann_search")
        config, partitioner, tokens, codebook, hashed, int8, multipliers, norms, dataset = tensors
        in_op_order = (
            dataset, config, partitioner, tokens, codebook, hashed, int8, multipliers, norms
        )  # fmt: skip
        self.state = [_variable(tensor) for tensor in in_op_order]
        self._dim = int(dataset.shape[-1])
        self.few = few_items(int(dataset.shape[0]))
        self._shared_name = f"scann-{content}"
        self._parameters = parameters

    @classmethod
    def build(cls, embeddings: np.ndarray, parameters: ScannParameters) -> ScannSearch:
        """Builds an index over `[items, dim]` float32 vectors (dot product)."""
        ops = load_scann_ops()
        digest = hashlib.sha256(np.ascontiguousarray(embeddings).tobytes())
        digest.update(repr((embeddings.shape, parameters)).encode())
        content = digest.hexdigest()[:32]
        builder = configure_scann(ops.builder(embeddings, 100, "dot_product"), parameters)
        handle = builder.build(shared_name=f"scann-build-{content}").searcher_handle
        return cls(ops.scann_to_tensors(handle), content, parameters)

    def with_parameters(self, leaves_to_search: int, reorder: int) -> ScannSearch:
        """Returns the same index (shared state) searched with other parameters."""
        other = object.__new__(ScannSearch)
        tf.Module.__init__(other, name="scann_search")
        other.state = self.state
        other._dim, other.few = self._dim, self.few
        other._shared_name = self._shared_name
        other._parameters = self._parameters._replace(
            leaves_to_search=leaves_to_search, reorder=reorder
        )
        return other

    def search(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Searcher.search`."""
        parameters = self._parameters
        return self._search(queries, k, parameters.leaves_to_search, parameters.reorder)

    def search_allowed(
        self, queries: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor, share: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Searcher.search_allowed`: as many more leaves and neighbours as are left out.

        As many more are scored anew with their own vectors, too: of what the codes rank, those
        that may be shown have to keep the depth that the index was tuned with.
        """
        parameters, wanted = self._parameters, overfetch(share, k, tf.size(allowed))
        leaves = widened(share, parameters.leaves_to_search, parameters.num_leaves)
        reorder = widened(share, tf.maximum(parameters.reorder, k), tf.size(allowed))
        rows, scores = self._search(queries, wanted, leaves, reorder)
        return best_allowed(rows, scores, k, allowed)

    def _search(
        self, queries: tf.Tensor, k: tf.Tensor, leaves: tf.Tensor | int, reorder: tf.Tensor | int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        ops = load_scann_ops()
        handle = ops.tensors_to_scann(*self.state, shared_name=self._shared_name)
        count = tf.shape(queries)[0]
        # ScaNN wants one query at least; the row added for an empty batch is cut off again.
        asked = tf.pad(queries, [[0, tf.cast(tf.equal(count, 0), tf.int32)], [0, 0]])
        rows, scores = ops.scann_search_batched(
            handle,
            asked,
            k,
            tf.maximum(reorder, k),
            leaves,
            False,
        )
        # Rows with too few points are padded by ScaNN with item 0 and a NaN score.
        missing = tf.math.is_nan(scores)
        rows = tf.where(missing, -tf.ones_like(rows), rows)
        scores = tf.where(missing, tf.fill(tf.shape(scores), -np.inf), scores)
        return pad_columns(rows[:count], scores[:count], k)

    def vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """See `Searcher.vectors`; read from what ScaNN re-scores candidates with."""
        found = tf.gather(tf.reshape(self.state[0], [-1, self._dim]), rows)
        return tf.ensure_shape(found, [*rows.shape, self._dim])


def save_options(searcher: Any) -> tf.saved_model.SaveOptions:
    """Returns how a module that searches is saved; ScaNN's ops are named where it has them."""
    base = getattr(searcher, "base", searcher)
    scann = any(isinstance(each, ScannSearch) for each in getattr(base, "shards", [base]))
    return tf.saved_model.SaveOptions(namespace_whitelist=["Scann"] if scann else [])


def _variable(value: tf.Tensor) -> tf.Variable:
    if value.shape.rank == 0 and value.dtype != tf.string:
        # Parts that this kind of index lacks come as scalars of uninitialised memory.
        value = tf.zeros_like(value)
    return tf.Variable(value, trainable=False, shape=tf.TensorShape(None))
