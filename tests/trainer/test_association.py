"""Which embedding of a user scores what, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from trainer import association


def case(batch=5, slots=4, seed=0):
    random = np.random.default_rng(seed)
    valid = random.random((batch, slots)) < 0.6
    valid[np.arange(batch), random.integers(0, slots, batch)] = True
    users = random.normal(size=(batch, slots, 6)).astype(np.float32)
    return users, valid, random.normal(size=(batch, 6)).astype(np.float32)


def scores_of(users, valid, targets):
    return np.where(valid, np.einsum("bsd,bd->bs", users, targets), -np.inf)


def masked(scores):
    return tf.constant(np.where(np.isfinite(scores), scores, -1e9).astype(np.float32))


def softmax(values):
    powers = np.exp(values - values.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_argmax_takes_the_valid_slot_that_scores_the_target_highest():
    users, valid, targets = case()
    own = association.slot_scores(users, tf.constant(valid), tf.constant(targets))
    found = association.chosen_embedding(users, own).numpy()
    best = scores_of(users, valid, targets).argmax(1)
    np.testing.assert_array_equal(found, users[np.arange(len(users)), best])


@given(seed=st.integers(0, 10_000), batch=st.integers(1, 5), slots=st.integers(1, 6))
def test_best_slot_scores_are_the_maximum_over_valid_slots(seed, batch, slots):
    users, valid, candidates = case(batch, slots, seed)
    found = association.best_slot_scores(users, tf.constant(valid), tf.constant(candidates)).numpy()
    for row in range(batch):
        expected = (users[row][valid[row]] @ candidates.T).max(0)
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)


def test_label_aware_attention_weighs_slots_by_the_powered_score():
    users, valid, targets = case()
    scores = scores_of(users, valid, targets)
    for power in (0.0, 1.0, 3.0):
        weights = softmax(np.where(valid, power * np.where(valid, scores, 0.0), -np.inf))
        found = association.label_aware_embedding(users, masked(scores), power)
        np.testing.assert_allclose(
            found, np.einsum("bs,bsd->bd", weights, users), rtol=1e-4, atol=1e-5
        )


def test_a_large_power_chooses_the_best_slot():
    users, valid, targets = case()
    scores = masked(scores_of(users, valid, targets))
    found = association.label_aware_embedding(users, scores, 1e4)
    np.testing.assert_allclose(found, association.chosen_embedding(users, scores), rtol=1e-5)


def test_gumbel_without_noise_takes_the_best_slot():
    users, valid, targets = case()
    scores = masked(scores_of(users, valid, targets))
    found = association.gumbel_embedding(users, scores, 1.0, None)
    np.testing.assert_allclose(found, association.chosen_embedding(users, scores), rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_gumbel_draws_one_valid_slot_with_the_probability_of_its_logit(temperature):
    """The temperature shapes the gradient, not the draw."""
    rows = 20_000
    users = np.tile(np.eye(4, dtype=np.float32), (rows, 1, 1))
    logits = masked(np.tile([0.5, -np.inf, 1.5, -1.0], (rows, 1)))
    found = association.gumbel_embedding(users, logits, temperature, tf.constant([3, 4])).numpy()
    np.testing.assert_allclose(np.sort(found, axis=1), [[0, 0, 0, 1]] * rows, atol=1e-6)
    expected = softmax(np.array([[0.5, -np.inf, 1.5, -1.0]]))[0]
    np.testing.assert_allclose(found.mean(0), expected, atol=0.015)


def test_gumbel_noise_depends_on_the_step_alone():
    users, valid, targets = case(batch=200)
    scores = masked(scores_of(users, valid, targets))
    draws = [
        association.gumbel_embedding(users, scores, 1.0, tf.constant([1, step])).numpy()
        for step in (7, 7, 8)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


def test_the_gradient_of_gumbel_is_that_of_the_soft_weights():
    users, valid, targets = case()
    logits, upstream = tf.Variable(masked(scores_of(users, valid, targets))), targets
    temperature = 0.7
    with tf.GradientTape() as tape:
        found = association.gumbel_embedding(users, logits, temperature, None)
        total = tf.reduce_sum(found * upstream)
    slopes = tape.gradient(total, logits).numpy()
    weights = softmax(np.where(valid, logits.numpy() / temperature, -np.inf))
    pulls = np.einsum("bsd,bd->bs", users, upstream)
    expected = weights * (pulls - (weights * pulls).sum(1, keepdims=True)) / temperature
    np.testing.assert_allclose(slopes, expected, rtol=1e-3, atol=1e-5)
