"""Dynamic routing against its algorithm."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.interests import histories as h


def numpy_squash(vectors):
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return norms / (1.0 + norms**2) * vectors


def numpy_mind(case, user, noise, matrix, iterations):
    """Oracle, one user: Algorithm 1 of the paper, item by item."""
    valid = np.flatnonzero(case.valid[user])
    logits = noise.astype(np.float64).copy()  # [K, L]
    slots = len(logits)
    for iteration in range(iterations):
        shares = {i: h.softmax(logits[:, i], axis=0) for i in valid}
        source = case.vectors if iteration < iterations - 1 else case.encoded
        capsules = np.zeros((slots, h.DIM))
        for slot in range(slots):
            for i in valid:
                item = source[user, i].astype(np.float64)
                capsules[slot] += shares[i][slot] * (item @ matrix)
        if iteration < iterations - 1:
            for i in valid:
                logits[:, i] += numpy_squash(capsules) @ (case.vectors[user, i] @ matrix)
    best = {i: int(np.argmax(shares[i])) for i in valid}
    return capsules, sum(shares.values()), best


def with_noise(made, case, noise):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.interests.mind.routing_noise", lambda *_: tf.constant(noise))
        return h.extract(made, case)


@given(h.cases, st.integers(1, 4), st.integers(1, 4), st.sampled_from(["l2", "squash"]))
def test_it_is_the_papers_algorithm(case, slots, iterations, norm):
    made = h.extractor(
        "mind", slots, routing_iterations=iterations, ablation={"centroid_norm": norm}
    )
    matrix = h.weights_of(made)["routing_matrix"].astype(np.float64)
    noise = np.random.default_rng(1).normal(size=(1, slots, case.valid.shape[1]))
    found = with_noise(made, case, noise.astype(np.float32))
    for user in np.flatnonzero(case.valid.any(axis=1)):
        capsules, mass, best = numpy_mind(case, user, noise[0], matrix, iterations)
        expected = numpy_squash(capsules) if norm == "squash" else h.unit(capsules)
        np.testing.assert_allclose(found.conditions[user], expected, atol=1e-3)
        np.testing.assert_allclose(found.mass[user], mass, atol=1e-4)
        assert {i: found.history_slot[user, i] for i in best} == best


def test_first_logits_are_standard_normal_and_differ_between_slots():
    """After one iteration the shares show the draw: its spread and its independence."""
    made = h.extractor("mind", 2, routing_iterations=1)
    case = h.histories(1, users=200, length=8)
    case = case._replace(valid=np.ones_like(case.valid))
    with tf.GradientTape() as tape:
        encoded = tf.Variable(case.encoded)
        found = made(
            h.as_history(case)._replace(encoded=encoded * 1.0), seed=tf.constant([1, 2], tf.int32)
        )
        total = tf.reduce_sum(found.mass[:, 0])
    assert tape.gradient(total, encoded) is None  # shares know nothing of the items yet
    in_first = (found.history_slot.numpy() == 0).mean()
    assert abs(in_first - 0.5) < 0.05
    # With logits of spread 1 the variance of the share sigmoid(x - y) is 0.0862.
    spread = np.var(found.mass.numpy()[:, 0]) / 8
    assert 0.06 < spread < 0.12


def test_gradients_run_through_the_last_iteration_only():
    """The shares are constants: conditions move with the encoded items alone."""
    case = h.histories(4, users=2, length=6)
    vectors, encoded = tf.Variable(case.vectors), tf.Variable(case.encoded)
    made = h.extractor("mind")
    with tf.GradientTape() as tape:
        history = h.as_history(case)._replace(vectors=vectors * 1.0, encoded=encoded * 1.0)
        loss = tf.reduce_sum(tf.sin(made(history, seed=None).conditions))
    through_vectors, through_encoded = tape.gradient(loss, [vectors, encoded])
    assert through_vectors is None
    assert np.abs(through_encoded.numpy()[case.valid]).max() > 0
