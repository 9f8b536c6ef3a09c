"""Searching all shards is searching one index."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.retrieval.fake_model import unit
from trainer.retrieval.allowed import search_allowed
from trainer.retrieval.search import ExactSearch, ScannParameters, ScannSearch
from trainer.retrieval.sharding import ShardedSearch, shard_of

# Whole numbers, so that a product is the same however many items are multiplied at once; many ties.
VECTORS = np.random.default_rng(0).integers(-2, 3, (60, 4)).astype(np.float32)
QUERIES = tf.constant(np.random.default_rng(1).integers(-2, 3, (5, 4)).astype(np.float32))


def exact(vectors: np.ndarray) -> ExactSearch:
    return ExactSearch(tf.Variable(vectors, trainable=False))


def sharded(sizes: list[int]) -> ShardedSearch:
    ends = np.cumsum(sizes)
    starts = ends - sizes
    searches = [exact(VECTORS[a:b]) for a, b in zip(starts, ends, strict=True)]
    return ShardedSearch(searches, sizes)


@settings(max_examples=15)
@given(
    cuts=st.lists(st.integers(1, 59), max_size=4, unique=True),
    k=st.integers(1, 80),
    left=st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_exact_shards_find_the_rows_of_exact_search_in_its_order(cuts, k, left):
    search = sharded(np.diff([0, *sorted(cuts), 60]).tolist())
    k = tf.constant(k)
    for found, truth in zip(
        search.search(QUERIES, k), exact(VECTORS).search(QUERIES, k), strict=True
    ):
        np.testing.assert_array_equal(found, truth)
    allowed = tf.constant(left)
    for found, truth in zip(
        search_allowed(search, QUERIES, k, allowed),
        search_allowed(exact(VECTORS), QUERIES, k, allowed),
        strict=True,
    ):
        np.testing.assert_array_equal(found, truth)


def test_vectors_are_those_of_the_catalogue():
    rows = tf.constant([[0, 9, 10], [11, 59, 33]])
    np.testing.assert_array_equal(sharded([10, 1, 49]).vectors(rows), VECTORS[rows.numpy()])


def test_an_item_stays_in_its_shard_whatever_else_is_there():
    ids = [b"i%d" % n for n in range(1000)]
    shards = shard_of(ids, 4)
    np.testing.assert_array_equal(shard_of(ids[::-1], 4), shards[::-1])
    assert np.bincount(shards).min() > 200
    assert shard_of([b"i7", "\u00e9".encode(), b"\xff"], 4).tolist() == [0, 1, 3]


def test_shards_of_scann_find_what_one_index_finds():
    rng = np.random.default_rng(2)
    vectors, queries = unit(rng.normal(size=(2000, 16))), unit(rng.normal(size=(30, 16)))
    k = tf.constant(100)
    truth = exact(vectors).search(tf.constant(queries), k)[0].numpy()

    def recall(search) -> float:
        found = search.search(tf.constant(queries), k)[0].numpy()
        pairs = zip(found, truth, strict=True)
        return float(np.mean([len(np.intersect1d(a, b)) / 100 for a, b in pairs]))

    one = ScannSearch.build(vectors, ScannParameters(40, 8, 300))
    halves = [ScannSearch.build(part, ScannParameters(28, 6, 200)) for part in np.split(vectors, 2)]
    assert recall(ShardedSearch(halves, [1000, 1000])) > recall(one) - 0.05
