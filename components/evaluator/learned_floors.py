"""Floors that are strong and easy to get: EASE, RP3beta and implicit ALS.

A model that does not beat them is not worth its training. All three learn from the same
events as the other floors and score a user by the history in the request.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse
from threadpoolctl import threadpool_limits

from components.evaluator.training_log import TrainingLog

#: Ridge of EASE; the best on goodbooks-10k of 100, 300 and 1000, close to it elsewhere.
EASE_L2 = 100.0
#: Exponent of the target's popularity in RP3beta.
RP3_BETA = 0.4
_ALS_FACTORS = 128
#: Factors of users and items in all (1 GB); larger data has shorter vectors, down to the least.
_ALS_CELLS_MAX = 256_000_000
_ALS_FACTORS_MIN = 16
_ALS_ITERATIONS = 10
_ALS_REGULARIZATION = 0.1
_ALS_ALPHA = 5.0
_BLOCK_ITEMS = 2048


def user_items(log: TrainingLog, items: int) -> sparse.csr_matrix:
    """Returns which user engaged with what, `[users, items]` CSR float32 of ones."""
    users = int(log.user.max()) + 1 if len(log.user) else 1
    ones = np.ones(len(log.item), np.float32)
    matrix = sparse.csr_matrix((ones, (log.user, log.item)), shape=(users, items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def ease(log: TrainingLog, items: int, l2: float = EASE_L2) -> np.ndarray:
    """Solves EASE in closed form: `B = -P / diag(P)`, `P = (X'X + l2 I)^-1`, diagonal 0.

    Steck 2019, https://arxiv.org/abs/1905.03375.

    Args:
      log: what was known before the eval split.
      items: number of items; time grows with its cube, memory with its square.
      l2: ridge, > 0.

    Returns:
      `[items, items]` float32; a history's scores are the sum of its items' rows.
    """
    matrix = user_items(log, items)
    gram = (matrix.T @ matrix).toarray().astype(np.float32)
    gram[np.diag_indices(items)] += l2
    # Cholesky in place: the matrix is positive definite, and a copy costs as much again.
    factor, lower = linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    inverse, failed = linalg.lapack.spotri(factor, lower=lower, overwrite_c=True)
    if failed:
        raise np.linalg.LinAlgError(f"EASE: the Gram matrix of {items:,} items is singular")
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = -inverse / np.diag(inverse)
    weights[np.diag_indices(items)] = 0.0
    return weights


def rp3beta(log: TrainingLog, items: int, most: int, beta: float = RP3_BETA) -> sparse.csr_matrix:
    """Returns three-step walks item - user - item, damped by the end's popularity.

    Paudel et al. 2017, https://doi.org/10.1145/2955101.

    Args:
      log: what was known before the eval split.
      items: number of items.
      most: entries kept of each item.
      beta: exponent of the popularity, 0 for the walk alone (P3).

    Returns:
      `[items, items]` CSR float32, diagonal 0.
    """
    matrix = user_items(log, items)
    popularity = np.asarray(matrix.sum(axis=0)).ravel()
    of_user = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1.0)
    step_back = sparse.diags(1.0 / of_user) @ matrix  # user -> item
    damped = step_back @ sparse.diags(np.maximum(popularity, 1.0) ** -beta)
    step_out = sparse.diags(1.0 / np.maximum(popularity, 1.0)) @ matrix.T  # item -> user
    step_out = step_out.tocsr()
    blocks = [
        strongest((step_out[i : i + _BLOCK_ITEMS] @ damped).tocsr(), i, most)
        for i in range(0, items, _BLOCK_ITEMS)
    ]
    return sparse.vstack(blocks, format="csr")


class ImplicitAls:
    """Weighted matrix factorisation (Hu et al. 2008), by the `implicit` library."""

    def __init__(self, log: TrainingLog, items: int, order: np.ndarray | None = None) -> None:
        """Factorises.

        Args:
          log: what was known before the eval split.
          items: number of items.
          order: `[items]` int, the log's item that each item of `scores` is; None: the same.
        """
        from implicit.cpu.als import AlternatingLeastSquares

        matrix = user_items(log, items)
        fitting = max(_ALS_FACTORS_MIN, _ALS_CELLS_MAX // sum(matrix.shape))
        self._model = AlternatingLeastSquares(
            factors=min(_ALS_FACTORS, fitting, max(1, items - 1)),
            regularization=_ALS_REGULARIZATION,
            alpha=_ALS_ALPHA,
            iterations=_ALS_ITERATIONS,
            random_state=0,
        )
        # `implicit` has a thread per core; with as many again in each of their small products,
        # which wait for each other, a fit takes many times as long.
        with threadpool_limits(1, "blas"):
            self._model.fit(matrix, show_progress=False)
        if order is not None:
            self._model.item_factors = self._model.item_factors[order]

    @property
    def factors(self) -> int:
        """Length of the vectors."""
        return int(self._model.factors)

    def scores(self, histories: sparse.csr_matrix) -> np.ndarray:
        """Folds users in by their histories and scores every item.

        Args:
          histories: `[users, items]` CSR of ones.

        Returns:
          `[users, items]` float32.
        """
        users = np.arange(histories.shape[0])
        with threadpool_limits(1, "blas"):
            factors = self._model.recalculate_user(users, histories.astype(np.float32))
        return np.asarray(factors @ self._model.item_factors.T, np.float32)


def strongest(block: sparse.csr_matrix, offset: int, most: int) -> sparse.csr_matrix:
    """Zeroes the diagonal (row r is item `offset + r`) and keeps `most` entries per row."""
    owner = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    block.data[block.indices == owner + offset] = 0.0
    for row in np.flatnonzero(np.diff(block.indptr) > most):
        start, end = block.indptr[row], block.indptr[row + 1]
        values = block.data[start:end]  # a view: what is zeroed here is dropped below
        values[np.argpartition(values, len(values) - most)[: len(values) - most]] = 0.0
    block.eliminate_zeros()
    return block.astype(np.float32)
