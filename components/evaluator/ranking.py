"""The best unseen items of many users at once, with gaps filled by popularity.

Columns stand for items in order of popularity: equal scores are ranked by column, and what
has no score of its own comes behind, by column as well.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

#: With more than this share of the scores stored, all are ranked sooner than those are sorted.
_DENSE_SHARE = 0.05


def rank_dense(scores: np.ndarray, seen: sparse.csr_matrix, depth: int) -> np.ndarray:
    """Ranks users whose scores are known for every item.

    Args:
      scores: `[users, items]` float32, changed in place; at most 0 means no score.
      seen: the same shape, CSR; what is stored is never ranked.
      depth: length of the lists.

    Returns:
      `[users, depth]` int32 columns, -1 where there are no more items.
    """
    np.maximum(scores, 0.0, out=scores)
    scores[_owners(seen), seen.indices] = -np.inf
    return _best(scores, depth)


def rank_sparse(scores: sparse.csr_matrix, seen: sparse.csr_matrix, depth: int) -> np.ndarray:
    """Ranks users who have scores for some items.

    Args:
      scores: `[users, items]` CSR float32; at most 0 means no score.
      seen: the same shape, CSR of ones; what is stored is never ranked.
      depth: length of the lists.

    Returns:
      `[users, depth]` int32 columns, -1 where there are no more items.
    """
    users, items = scores.shape
    if scores.nnz > _DENSE_SHARE * users * items:
        return rank_dense(scores.toarray(), seen, depth)
    scored = (scores - scores.multiply(seen)).tocsr()  # a score less itself is exactly 0
    scored.data[scored.data <= 0.0] = 0.0
    scored.eliminate_zeros()
    scored.sort_indices()
    owner, counts = _owners(scored), np.diff(scored.indptr)
    # Of this many popular items, enough are neither seen nor scored to fill a list.
    pool = min(items, depth + int(np.diff(seen.indptr).max(initial=0)))
    width = int(counts.max(initial=0))
    values = np.full((users, width + pool), -np.inf, np.float32)
    columns = np.full((users, width + pool), -1, np.int32)
    place = np.arange(len(owner)) - np.repeat(scored.indptr[:-1], counts)
    values[owner, place] = scored.data
    columns[owner, place] = scored.indices
    values[:, width:] = 0.0
    columns[:, width:] = np.arange(pool)
    for taken in (scored, seen):
        popular = taken.indices < pool
        values[_owners(taken)[popular], width + taken.indices[popular]] = -np.inf
    best = _best(values, depth)
    found = np.take_along_axis(columns, np.maximum(best, 0), axis=1)
    return np.where(best >= 0, found, -1)


def _owners(matrix: sparse.csr_matrix) -> np.ndarray:
    """Returns the row of each stored value."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _best(values: np.ndarray, depth: int) -> np.ndarray:
    """Returns the columns of the largest values per row, equal ones by column.

    Args:
      values: `[rows, columns]` float32, -inf for what is not there.
      depth: columns wanted.

    Returns:
      `[rows, depth]` int32, -1 pads.
    """
    rows, columns = values.shape
    if columns < depth:
        missing = np.full((rows, depth - columns), -np.inf, values.dtype)
        values = np.concatenate([values, missing], axis=1)
        columns = depth
    bound = np.partition(values, columns - depth, axis=1)[:, columns - depth, None]
    above = values > bound
    equal = values == bound
    # Where the bound is met more often than there is room, the first columns have it.
    crowded = np.flatnonzero(above.sum(axis=1) + equal.sum(axis=1) > depth)
    room = depth - above[crowded].sum(axis=1, keepdims=True)
    equal[crowded] &= np.cumsum(equal[crowded], axis=1) <= room
    chosen = np.nonzero(above | equal)[1].reshape(rows, depth)
    picked = np.take_along_axis(values, chosen, axis=1)
    order = np.argsort(-picked, axis=1, kind="stable")
    ranked = np.take_along_axis(chosen, order, axis=1).astype(np.int32)
    return np.where(np.take_along_axis(picked, order, axis=1) > -np.inf, ranked, -1)
