from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.retrieval import oracles
from tests.trainer.retrieval.fake_model import unit
from trainer.retrieval.search import ExactSearch, ScannParameters, ScannSearch


def items(count: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_filter_costs_scann_no_recall(share):
    """Codes of eight numbers rank badly: a list needs candidates in proportion to what is left."""
    vectors, queries = items(5000, 32), items(40, 32, seed=1)
    search = ScannSearch.build(vectors, ScannParameters(50, 50, 300, dimensions_per_block=8))
    allowed = tf.constant(np.random.default_rng(2).random(len(vectors)) < share)
    k = tf.constant(50)
    exact = ExactSearch(tf.Variable(vectors))

    def reached(found, truth):
        pairs = zip(found[0].numpy(), truth[0].numpy(), strict=True)
        return np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs])

    asked = tf.constant(queries)
    whole = reached(search.search(asked, k), exact.search(asked, k))
    part = reached(
        search.search_allowed(asked, k, allowed, tf.constant(share)),
        exact.search_allowed(asked, k, allowed, tf.constant(share)),
    )
    assert 0.6 < whole < 0.99
    assert part > whole - 0.03


@pytest.mark.parametrize("chunk", [1, 40, 10_000])
def test_exact_search_equals_sorting_all_scores_in_chunks_of_any_size(chunk):
    vectors, queries = items(20), items(7, seed=1)
    search = ExactSearch(tf.Variable(vectors), chunk_elements=chunk)
    rows, scores = search.search(tf.constant(queries), tf.constant(5))
    for query, row, score in zip(queries, rows.numpy(), scores.numpy(), strict=True):
        want = oracles.search(query, vectors, list(range(20)))[:5]
        assert row.tolist() == [item for item, _ in want]
        np.testing.assert_allclose(score, [value for _, value in want], rtol=1e-5)


def test_more_results_than_items_are_padded():
    search = ExactSearch(tf.Variable(items(3)))
    rows, scores = search.search(tf.constant(items(2, seed=1)), tf.constant(5))
    assert rows.shape == (2, 5)
    assert (rows.numpy()[:, 3:] == -1).all()
    assert np.isneginf(scores.numpy()[:, 3:]).all()


def test_no_queries_give_no_rows():
    rows, scores = ExactSearch(tf.Variable(items(3))).search(tf.zeros([0, 8]), tf.constant(2))
    assert rows.shape == scores.shape == (0, 2)


class _Saved(tf.Module):
    def __init__(self, search: ScannSearch):
        super().__init__()
        self.search = search

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
    def __call__(self, queries):
        return self.search.search(queries, tf.constant(10))


def test_scann_finds_nearly_what_exact_search_finds_and_survives_saving(tmp_path):
    vectors, queries = items(2000, 16), items(30, 16, seed=1)
    search = ScannSearch.build(vectors, ScannParameters(40, 40, 500))
    rows, scores = search.search(tf.constant(queries), tf.constant(10))
    truth, _ = ExactSearch(tf.Variable(vectors)).search(tf.constant(queries), tf.constant(10))
    same = np.mean(
        [len(set(a) & set(b)) / 10 for a, b in zip(rows.numpy(), truth.numpy(), strict=True)]
    )
    assert same > 0.95
    np.testing.assert_allclose(
        scores.numpy(), np.einsum("qd,qkd->qk", queries, vectors[rows.numpy()]), rtol=1e-4
    )
    tf.saved_model.save(_Saved(search), str(tmp_path / "m"))
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    np.testing.assert_array_equal(loaded(tf.constant(queries))[0], rows)


def test_scann_pads_short_results_and_answers_an_empty_batch():
    search = ScannSearch.build(items(200), ScannParameters(20, 1, 200))
    rows, scores = search.search(tf.constant(items(4, seed=1)), tf.constant(150))
    assert rows.shape == (4, 150)
    missing = rows.numpy() < 0
    assert missing.any()
    assert (np.isneginf(scores.numpy()) == missing).all()
    found = [row[row >= 0].tolist() for row in rows.numpy()]
    assert all(len(set(row)) == len(row) for row in found)
    rows, scores = search.search(tf.zeros([0, 8]), tf.constant(150))
    assert rows.shape == scores.shape == (0, 150)


def test_more_neighbours_than_scann_reorders_are_still_given_and_begin_alike():
    search = ScannSearch.build(items(2000, 16), ScannParameters(20, 20, 50))
    queries = tf.constant(items(5, 16, seed=1))
    rows, scores = search.search(queries, tf.constant(150))
    assert (rows.numpy() >= 0).all()
    assert (np.diff(scores.numpy(), axis=1) <= 0).all()
    wide = search.with_parameters(20, 150)
    for k in (1, 50, 149):
        np.testing.assert_array_equal(wide.search(queries, tf.constant(k))[0], rows[:, :k])


def test_building_scann_twice_gives_the_same_index():
    vectors, queries = items(3000, 16), items(20, 16, seed=1)
    parameters = ScannParameters(50, 5, 100)
    first, second = (ScannSearch.build(vectors, parameters) for _ in range(2))
    for a, b in zip(first.state, second.state, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    np.testing.assert_array_equal(
        first.search(tf.constant(queries), tf.constant(10))[0],
        second.search(tf.constant(queries), tf.constant(10))[0],
    )


def test_two_scann_indexes_in_one_process_do_not_answer_for_each_other(tmp_path):
    class Both(tf.Module):
        def __init__(self, searches):
            super().__init__()
            self.searches = searches

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
        def __call__(self, queries):
            return [search.search(queries, tf.constant(1))[0] for search in self.searches]

    vectors = [items(300, seed=seed) for seed in (0, 1)]
    both = Both([ScannSearch.build(v, ScannParameters(10, 10, 300)) for v in vectors])
    tf.saved_model.save(both, str(tmp_path / "m"))
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    for place, own in enumerate(vectors):
        answers = loaded(tf.constant(own[:50]))[place].numpy()[:, 0]
        np.testing.assert_array_equal(answers, np.arange(50))
