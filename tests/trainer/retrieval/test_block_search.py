"""The search in blocks gives what sorting all scores gives, and nothing copies the vectors."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from trainer.retrieval.block_search import BlockSearch
from trainer.retrieval.partitioned import PartitionedSearch
from trainer.retrieval.search import ExactSearch

DIM = 4
#: Of any number of items, as a delta is.
ROOM = tf.Variable(np.zeros((0, DIM), np.float32), shape=[None, DIM], trainable=False)
SEARCH = BlockSearch(ROOM)
ASK = tf.function(
    lambda queries, k, allowed: SEARCH.search_allowed(queries, k, allowed, tf.constant(1.0)),
    autograph=False,
    input_signature=[
        tf.TensorSpec([None, DIM], tf.float32),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([None], tf.bool),
    ],
)


@given(
    st.integers(0, 2000), st.integers(1, 12), st.integers(0, 3), st.floats(0, 1), st.integers(0, 9)
)
def test_items_and_order_are_those_of_all_scores_sorted(items, k, queries, share, seed):
    random = np.random.default_rng(seed)
    # Whole numbers: many scores are equal, and products are exact.
    vectors = random.integers(-2, 3, size=(items, DIM)).astype(np.float32)
    asked = random.integers(-2, 3, size=(queries, DIM)).astype(np.float32)
    allowed = random.random(items) < share
    ROOM.assign(vectors)
    rows, scores = (part.numpy() for part in ASK(asked, k, allowed))
    assert rows.shape == scores.shape == (queries, k)
    for row, score, query in zip(rows, scores, asked, strict=True):
        every = np.where(allowed, vectors @ query, -np.inf)
        best = [place for place in np.argsort(-every, kind="stable")[:k] if allowed[place]]
        np.testing.assert_array_equal(row, [*best, *[-1] * (k - len(best))])
        np.testing.assert_array_equal(score[: len(best)], every[best])


@pytest.mark.parametrize("kind", [ExactSearch, BlockSearch, PartitionedSearch])
def test_reading_single_vectors_does_not_make_searches_copy_all_of_them(kind):
    vectors = tf.Variable(np.eye(DIM, dtype=np.float32), trainable=False)
    if kind is PartitionedSearch:
        search = PartitionedSearch(vectors, np.eye(2, DIM), np.array([0, 1, 0, 1]), 1)
    else:
        search = kind(vectors)
    read = tf.function(search.vectors, autograph=False)
    graph = read.get_concrete_function(tf.TensorSpec([None], tf.int32)).graph
    gathered = [op for op in graph.get_operations() if op.type == "ResourceGather"]
    assert not [op for op in gathered if op.get_attr("dtype") == tf.float32]
    np.testing.assert_array_equal(read(tf.constant([2, 0])), np.eye(DIM)[[2, 0]])
