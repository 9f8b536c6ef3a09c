from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.retrieval import oracles
from tests.trainer.retrieval.fake_model import unit
from trainer.retrieval import slices
from trainer.retrieval.topic_filter import TopicFilter, topic_rows


def catalogue(count: int = 30):
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(count, 8)))
    topics = [
        [f"t{t}".encode() for t in rng.permutation(5)[: rng.integers(0, 3)]] for _ in range(count)
    ]
    return vectors, topics


@pytest.mark.parametrize("copy_bytes", [0, 1 << 20])
@pytest.mark.parametrize("chunk", [1, 10_000])
def test_results_are_the_best_items_of_each_querys_own_topic(monkeypatch, chunk, copy_bytes):
    monkeypatch.setattr(slices, "COPY_MAX_BYTES", copy_bytes)
    vectors, topics = catalogue()
    queries = unit(np.random.default_rng(1).normal(size=(9, 8)))
    asked = [b"t3", b"t0", b"unknown", b"t3", b"t4", b"t0", b"", b"t3", b"t1"]
    search = TopicFilter(tf.Variable(vectors), topics, chunk_elements=chunk)
    rows, scores = search.search(tf.constant(queries), tf.constant(asked), tf.constant(4))
    assert rows.shape == scores.shape == (9, 4)
    for query, topic, got, values in zip(queries, asked, rows.numpy(), scores.numpy(), strict=True):
        carriers = [row for row, names in enumerate(topics) if topic in names]
        want = oracles.search(query, vectors, carriers)[:4]
        assert got.tolist() == [row for row, _ in want] + [-1] * (4 - len(want))
        np.testing.assert_allclose(values[: len(want)], [v for _, v in want], rtol=1e-5)
        assert np.isneginf(values[len(want) :]).all()


def test_no_queries_and_a_catalogue_without_topics():
    vectors, topics = catalogue()
    empty = tf.zeros([0, 8]), tf.zeros([0], tf.string), tf.constant(3)
    assert TopicFilter(tf.Variable(vectors), topics).search(*empty)[0].shape == (0, 3)
    bare = TopicFilter(tf.Variable(vectors), [[] for _ in topics])
    rows, _ = bare.search(tf.constant(vectors[:2]), tf.constant([b"t0", b""]), tf.constant(3))
    assert (rows.numpy() == -1).all()


def test_a_huge_topic_keeps_its_most_typical_items():
    vectors = unit(np.concatenate([np.ones((6, 4)), -np.ones((2, 4))]))
    names, starts, rows = topic_rows([[b"t"]] * 8, vectors, max_items=5)
    assert names == [b"t"]
    assert starts.tolist() == [0, 5]
    assert rows.tolist() == [0, 1, 2, 3, 4]


def test_repeated_and_empty_topic_names_count_once_and_not_at_all():
    names, starts, rows = topic_rows([[b"t", b"t", b""]], np.ones((1, 2), np.float32), 5)
    assert (names, starts.tolist(), rows.tolist()) == ([b"t"], [0, 1], [0])
