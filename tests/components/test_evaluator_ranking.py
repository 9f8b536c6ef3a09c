"""Ranking of many users at once beside one user at a time."""

from __future__ import annotations

from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import sparse

from components.evaluator import ranking
from components.evaluator.ranking import rank_dense, rank_sparse

# Few different values, so that most are equal to others.
_SCORES = npst.arrays(
    np.float32,
    st.tuples(st.integers(0, 5), st.integers(1, 12)),
    elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 2.0]),
)


def one_by_one(scores: np.ndarray, seen: np.ndarray, depth: int) -> np.ndarray:
    """Best positive score first, then whatever is left, both by column."""
    lists = np.full((len(scores), depth), -1)
    for row, own in enumerate(np.maximum(scores, 0.0)):
        order = sorted((-own[i], i) for i in range(len(own)) if not seen[row, i])[:depth]
        lists[row, : len(order)] = [i for _, i in order]
    return lists


@given(_SCORES, st.data(), st.integers(1, 14))
def test_both_rankings_equal_one_user_at_a_time(scores, data, depth):
    seen = data.draw(npst.arrays(bool, scores.shape))
    want = one_by_one(scores, seen, depth)
    known = sparse.csr_matrix(seen.astype(np.float32))
    for share in (0.0, 2.0):
        with mock.patch.object(ranking, "_DENSE_SHARE", share):
            found = rank_sparse(sparse.csr_matrix(scores), known, depth)
        np.testing.assert_array_equal(found, want)
    np.testing.assert_array_equal(rank_dense(scores.copy(), known, depth), want)
