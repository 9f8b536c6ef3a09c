from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.trainer.retrieval.fake_model import unit
from trainer.retrieval.partitioned import PartitionedSearch
from trainer.retrieval.search import ExactSearch

VECTORS = unit(np.random.default_rng(0).normal(size=(700, 8)))
QUERIES = tf.constant(unit(np.random.default_rng(1).normal(size=(20, 8))))


def both(probed: int, k: int = 30):
    items = tf.Variable(VECTORS)
    search = PartitionedSearch.build(items, 12, probed)
    return search.search(QUERIES, tf.constant(k)), ExactSearch(items).search(
        QUERIES, tf.constant(k)
    )


def test_all_parts_give_what_exact_search_gives():
    (rows, scores), (exact_rows, exact_scores) = both(12)
    np.testing.assert_array_equal(rows, exact_rows)
    np.testing.assert_allclose(scores, exact_scores, rtol=1e-5)


def test_fewer_parts_find_most_and_more_parts_find_more():
    shares = []
    for probed in (1, 4, 8):
        (rows, scores), (exact, _) = both(probed)
        pairs = zip(rows.numpy(), exact.numpy(), strict=True)
        shares.append(np.mean([len(set(a) & set(b)) / 30 for a, b in pairs]))
        found = rows.numpy() >= 0
        truth = np.einsum("qd,qkd->qk", QUERIES.numpy(), VECTORS[rows.numpy()])
        np.testing.assert_allclose(scores.numpy()[found], truth[found], rtol=1e-4, atol=1e-6)
        assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in rows.numpy())
    assert shares == sorted(shares)
    assert shares[-1] > 0.9


def test_short_results_and_empty_batches_keep_their_shape():
    (rows, scores), _ = both(1, k=400)
    assert rows.shape == scores.shape == (20, 400)
    assert ((rows.numpy() >= 0) == np.isfinite(scores.numpy())).all()
    search = PartitionedSearch.build(tf.Variable(VECTORS[:5]), 12, 99)
    assert search.search(QUERIES[:0], tf.constant(3))[0].shape == (0, 3)
    assert sorted(search.search(QUERIES[:1], tf.constant(5))[0][0].numpy()) == [0, 1, 2, 3, 4]


def test_building_twice_gives_the_same_parts_and_probing_more_shares_them():
    items = tf.Variable(VECTORS)
    first, second = (PartitionedSearch.build(items, 12, 2) for _ in range(2))
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    more = first.with_probed(12)
    assert more.slices is first.slices
    np.testing.assert_array_equal(
        more.search(QUERIES, tf.constant(5))[0],
        ExactSearch(items).search(QUERIES, tf.constant(5))[0],
    )
