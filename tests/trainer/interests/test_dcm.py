"""Invariants of the differentiable clustering."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trainer.config import ModelConfig
from trainer.interests import History
from trainer.interests.dcm import DifferentiableClustering, assign, farthest_points, squash

DIM = 6


def unit(seed, users=3, length=7):
    """Distinct unit vectors; at random they are never within epsilon of each other."""
    vectors = np.random.default_rng(seed).normal(size=(users, length, DIM))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def clustering(slots=3, **settings_):
    return DifferentiableClustering(ModelConfig(name="dcm", num_interests=slots, **settings_))


def extract(vectors, valid, slots=3, **settings_):
    history = History(
        tf.constant(vectors),
        tf.constant(vectors),
        tf.constant(valid),
        tf.ones(valid.shape, tf.int64),
    )
    found = clustering(slots, **settings_).extract(history, None)
    return [part.numpy() for part in found]


histories = st.tuples(
    st.integers(0, 10_000),
    hnp.arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 9))),
    st.integers(1, 5),
)


def numpy_farthest(points, valid, count):
    """Oracle: the positions that VA-FPI picks for one user."""
    candidates = list(np.flatnonzero(valid))
    if not candidates:
        return []
    picks = [candidates[0]]
    while len(picks) < min(count, len(candidates)):
        rest = [i for i in candidates if i not in picks]
        nearest = [max(float(points[i] @ points[p]) for p in picks) for i in rest]
        picks.append(rest[int(np.argmin(nearest))])
    return picks


@pytest.mark.fault(31)
@given(histories)
def test_first_centroids_are_the_farthest_valid_items(case):
    seed, valid, count = case
    points = unit(seed, *valid.shape)
    picks, chosen = farthest_points(tf.constant(points), tf.constant(valid), count, 1e-6)
    for user in range(len(valid)):
        expected = numpy_farthest(points[user], valid[user], count)
        assert picks.numpy()[user][chosen.numpy()[user]].tolist() == expected
        assert chosen.numpy()[user].sum() == min(count, valid[user].sum())


@pytest.mark.fault(31)
@given(histories)
def test_each_valid_item_feeds_one_cluster_and_nothing_else_does(case):
    seed, valid, slots = case
    _, slot_valid, mass, history_slot = extract(unit(seed, *valid.shape), valid, slots)
    assert ((history_slot >= 0) == valid).all()
    for user in range(len(valid)):
        used = set(history_slot[user][valid[user]])
        assert used == set(np.flatnonzero(slot_valid[user]))
    assert ((mass > 0) == slot_valid).all()


@given(histories, st.integers(1, 5))
def test_padding_changes_nothing(case, padding):
    seed, valid, slots = case
    vectors = unit(seed, *valid.shape)
    padded = np.concatenate([vectors, unit(seed + 1, len(valid), padding)], axis=1)
    mask = np.concatenate([valid, np.zeros((len(valid), padding), bool)], axis=1)
    plain, longer = extract(vectors, valid, slots), extract(padded, mask, slots)
    np.testing.assert_allclose(plain[0][plain[1]], longer[0][longer[1]], atol=1e-5)
    np.testing.assert_array_equal(plain[1], longer[1])
    np.testing.assert_allclose(plain[2], longer[2], atol=1e-5)
    np.testing.assert_array_equal(plain[3], longer[3][:, : valid.shape[1]])


@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(1, 5))
def test_order_after_the_first_item_does_not_matter(seed, length, slots):
    vectors = unit(seed, 1, length)
    order = np.concatenate([[0], 1 + np.random.default_rng(seed).permutation(length - 1)])
    valid = np.ones((1, length), bool)
    before, after = extract(vectors, valid, slots), extract(vectors[:, order], valid, slots)
    np.testing.assert_allclose(before[0], after[0], atol=1e-5)
    np.testing.assert_allclose(before[2], after[2], atol=1e-5)
    np.testing.assert_array_equal(before[3][:, order], after[3])


def numpy_dcm(points, valid, slots, iterations):
    """Oracle: centroids and masses of one user, straight from Eq. 1, 2, 5-7."""
    centroids = points[numpy_farthest(points, valid, slots)].astype(np.float64)
    for _ in range(iterations):
        logits = centroids @ points[valid].T
        weights = np.exp(logits) / np.exp(logits).sum(0)
        weights *= logits == logits.max(0)
        total = weights @ points[valid]
        norms = np.linalg.norm(total, axis=1, keepdims=True)
        centroids = np.where(
            weights.any(1, keepdims=True), total / np.maximum(norms, 1e-9), centroids
        )
    return centroids, weights.sum(1)


@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 4), st.integers(1, 4))
def test_routing_is_the_papers(seed, length, slots, iterations):
    vectors = unit(seed, 1, length)
    valid = np.random.default_rng(seed).random((1, length)) < 0.8
    valid[0, 0] = True
    found = extract(vectors, valid, slots, routing_iterations=iterations)
    centroids, mass = numpy_dcm(vectors[0], valid[0], slots, iterations)
    np.testing.assert_allclose(found[0][0, : len(mass)], centroids, atol=1e-4)
    np.testing.assert_allclose(found[2][0, : len(mass)], mass, atol=1e-4)


@pytest.mark.fault(31)
def test_identical_items_make_one_cluster():
    vectors = np.repeat(unit(1, 1, 1), 6, axis=1)
    _, slot_valid, _, history_slot = extract(vectors, np.ones((1, 6), bool), 4)
    assert slot_valid.tolist() == [[True, False, False, False]]
    assert history_slot.tolist() == [[0] * 6]


@pytest.mark.fault(31)
def test_a_wholly_padded_history_gives_no_interest_and_finite_gradients():
    vectors = tf.Variable(np.zeros((2, 4, DIM), np.float32))
    valid = tf.constant([[False] * 4, [True, False, False, False]])
    with tf.GradientTape() as tape:
        found = clustering().extract(
            History(vectors, vectors * 1.0, valid, tf.ones(valid.shape, tf.int64)), None
        )
        loss = tf.reduce_sum(found.conditions**2) + tf.reduce_sum(found.mass)
    assert not found.slot_valid.numpy()[0].any()
    assert np.isfinite(tape.gradient(loss, vectors).numpy()).all()
    assert np.isfinite(found.conditions.numpy()).all()


def test_gradients_run_through_the_last_iteration_only():
    """With the assignment fixed, a centroid's gradient is that of the weighted mean."""
    vectors = tf.Variable(unit(3, 1, 5))
    with tf.GradientTape() as tape:
        found = clustering(2).extract(
            History(
                tf.stop_gradient(vectors),
                vectors,
                tf.ones((1, 5), bool),
                tf.ones((1, 5), tf.int64),
            ),
            None,
        )
        loss = tf.reduce_sum(found.conditions[:, 0])
    gradient = tape.gradient(loss, vectors).numpy()[0]
    in_first = found.history_slot.numpy()[0] == 0
    assert (np.abs(gradient[in_first]) > 0).any(axis=1).all()
    assert not gradient[~in_first].any()


@given(hnp.arrays(np.float32, (3, DIM), elements=st.floats(-50, 50, width=32)))
def test_squash_is_shorter_than_one_and_keeps_the_direction(vectors):
    found = squash(tf.constant(vectors)).numpy()
    squared = (vectors.astype(np.float64) ** 2).sum(-1, keepdims=True)
    assert (np.linalg.norm(found, axis=-1) < 1.0 + 1e-6).all()
    np.testing.assert_allclose(found, vectors * np.sqrt(squared) / (1 + squared), atol=1e-4)


def test_centroids_that_were_not_chosen_get_no_item():
    points = unit(5, 1, 4)
    weights, slot = assign(
        tf.constant(points[:, :3] @ points.transpose(0, 2, 1)),
        tf.ones((1, 4), bool),
        tf.constant([[True, False, True]]),
    )
    assert 1 not in slot.numpy()
    assert not weights.numpy()[0, 1].any()


@pytest.mark.parametrize("norm", ["l2", "squash"])
def test_centroid_norms(norm):
    conditions, slot_valid, _, _ = extract(
        unit(7), np.ones((3, 7), bool), ablation={"centroid_norm": norm}
    )
    norms = np.linalg.norm(conditions[slot_valid], axis=-1)
    assert (norms < 1.0).all() if norm == "squash" else np.allclose(norms, 1.0, atol=1e-5)
