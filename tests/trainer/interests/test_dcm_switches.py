"""Each switch of the differentiable clustering changes what it says, and nothing else."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.interests import histories as h
from trainer.interests.dcm import farthest_points, random_points


def numpy_routing(points, encoded, centroids, *, single, iterations, matrix, first_logits=None):
    """Oracle, one user: Eq. 1, 2 and 7 over its items; `centroids` are vectors or None.

    Returns centroids, mass, slot of each item and which slots took part.
    """
    mapped = points.astype(np.float64) @ matrix
    slots = len(first_logits) if centroids is None else len(centroids)
    centroids = np.zeros((slots, h.DIM)) if centroids is None else centroids @ matrix
    alive = np.ones(slots, bool)
    for iteration in range(iterations):
        last = iteration == iterations - 1
        random = first_logits is not None and iteration == 0
        logits = first_logits.astype(np.float64) if random else centroids @ mapped.T
        logits = np.where(alive[:, np.newaxis], logits, -np.inf)
        weights = h.softmax(logits, axis=0)
        best = logits.argmax(axis=0)
        if single:
            weights = np.where(np.arange(slots)[:, np.newaxis] == best, weights, 0.0)
        if first_logits is not None:
            alive &= weights.any(axis=1)
        source = encoded.astype(np.float64) @ matrix if last else mapped
        total = h.unit(weights @ source)
        centroids = np.where(weights.any(axis=1, keepdims=True), total, centroids)
    return centroids, weights.sum(axis=1), best, alive


def assert_is(found, user, positions, expected, valid_slots):
    """One user of `found` equals what `numpy_routing` gave."""
    centroids, mass, best, _ = expected
    np.testing.assert_array_equal(np.flatnonzero(found.slot_valid[user]), valid_slots)
    np.testing.assert_allclose(
        found.conditions[user, valid_slots], centroids[valid_slots], atol=2e-4
    )
    np.testing.assert_allclose(found.mass[user, valid_slots], mass[valid_slots], atol=1e-4)
    np.testing.assert_array_equal(found.history_slot[user, positions], best)


def first_picks(case, user, usable, slots):
    """The positions that VA-FPI picks for one user."""
    picks, chosen = farthest_points(
        tf.constant(case.vectors[user : user + 1]), tf.constant(usable[np.newaxis]), slots, 1e-4
    )
    return picks.numpy()[0][chosen.numpy()[0]]


lengths = st.integers(1, 9)
seeds = st.integers(0, 10_000)


@given(seeds, lengths, st.integers(1, 4), st.integers(1, 3), st.booleans(), st.booleans())
def test_assignment_and_routing_matrix(seed, length, slots, iterations, single, mapped):
    case = h.histories(seed, users=2, length=length, distinct=True)
    made = h.extractor(
        "dcm",
        slots,
        routing_iterations=iterations,
        ablation={"single_assignment": single, "routing_matrix": mapped},
    )
    matrix = h.weights_of(made)["routing_matrix"] if mapped else np.eye(h.DIM)
    found = h.extract(made, case)
    for user in np.flatnonzero(case.valid.any(axis=1)):
        mine = np.flatnonzero(case.valid[user])
        picks = first_picks(case, user, case.valid[user], slots)
        expected = numpy_routing(
            case.vectors[user, mine],
            case.encoded[user, mine],
            case.vectors[user, picks],
            single=single,
            iterations=iterations,
            matrix=matrix.astype(np.float64),
        )
        filled = np.flatnonzero(expected[1] > 0)
        assert_is(found, user, mine, expected, filled if single else np.arange(len(picks)))


@given(seeds, lengths, st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_gaussian_start(seed, length, slots, iterations, single):
    case = h.histories(seed, users=2, length=length, distinct=True)
    made = h.extractor(
        "dcm",
        slots,
        routing_iterations=iterations,
        ablation={"single_assignment": single, "centroid_init": "gaussian"},
        routing_temperature=1.0,
    )
    noise = np.random.default_rng(seed).normal(size=(1, slots, length)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.interests.dcm.routing_noise", lambda *_: tf.constant(noise))
        found = h.extract(made, case)
    for user in np.flatnonzero(case.valid.any(axis=1)):
        mine = np.flatnonzero(case.valid[user])
        expected = numpy_routing(
            case.vectors[user, mine],
            case.encoded[user, mine],
            None,
            single=single,
            iterations=iterations,
            matrix=np.eye(h.DIM),
            first_logits=noise[0][:, mine],
        )
        if not single and len(mine) == 1:  # all centroids are that item: its slot is rounding
            continue
        filled = np.flatnonzero(expected[1] > 0)
        assert_is(found, user, mine, expected, filled)


def test_a_gaussian_slot_without_mass_is_not_valid():
    case = h.histories(1, users=3, length=2, distinct=True)
    case = case._replace(valid=np.array([[True, False], [True, True], [False, False]]))
    found = h.extract(h.extractor("dcm", 4, ablation={"centroid_init": "gaussian"}), case)
    assert (found.slot_valid.sum(axis=1) <= case.valid.sum(axis=1)).all()
    np.testing.assert_array_equal(found.slot_valid, found.mass > 0)


def test_with_soft_assignment_every_chosen_slot_is_valid_and_every_item_counts_once():
    case = h.histories(2, users=4, length=8, distinct=True)
    found = h.extract(h.extractor("dcm", 3, ablation={"single_assignment": False}), case)
    items = case.valid.sum(axis=1)
    np.testing.assert_array_equal(found.slot_valid.sum(axis=1), np.minimum(items, 3))
    np.testing.assert_allclose(found.mass.sum(axis=1), items, atol=1e-4)
    hard = h.extract(h.extractor("dcm", 3), case)
    assert (hard.mass.sum(axis=1)[items > 1] < items[items > 1]).all()


@given(seeds, st.integers(2, 9), st.integers(1, 4))
def test_without_validity_invalid_items_are_items_like_any_other(seed, length, slots):
    case = h.histories(seed, users=3, length=length)
    present = case._replace(valid=case.item_ids > 0)
    unaware = h.extract(h.extractor("dcm", slots, ablation={"validity_aware": False}), case)
    aware = h.extract(h.extractor("dcm", slots), present)
    for one, other in zip(unaware, aware, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (unaware.history_slot[case.item_ids == 0] == -1).all()


def test_an_invalid_outlier_is_a_centroid_only_without_validity():
    """Items close together and one that is far off and not valid."""
    case = h.histories(1, users=1, length=5, distinct=True)
    vectors = h.unit(np.ones((1, 5, h.DIM)) + 0.2 * np.arange(5)[:, None] * np.eye(5, h.DIM))
    vectors[0, 2] = h.unit(-np.ones(h.DIM))
    vectors = vectors.astype(np.float32)
    valid = np.arange(5)[np.newaxis] != 2
    case = case._replace(vectors=vectors, encoded=vectors, valid=valid)
    unaware = h.extract(h.extractor("dcm", 2, ablation={"validity_aware": False}), case)
    aware = h.extract(h.extractor("dcm", 2), case)
    assert unaware.history_slot.tolist() == [[0, 0, 1, 0, 0]]
    np.testing.assert_allclose(unaware.conditions[0, 1], vectors[0, 2], atol=1e-5)
    assert aware.history_slot[0, 2] == -1
    assert (aware.conditions[0] @ vectors[0, 2] < 0).all()


@given(h.cases, st.integers(1, 5), st.one_of(st.none(), st.integers(0, 99)))
def test_random_centroids_are_distinct_valid_items(case, count, step):
    seed = None if step is None else tf.constant([1, step], tf.int32)
    picks, chosen = random_points(
        tf.constant(case.vectors), tf.constant(case.valid), count, 1e-4, seed
    )
    for user in range(len(case.valid)):
        taken = picks.numpy()[user][chosen.numpy()[user]]
        distinct = set(case.item_ids[user][case.valid[user]])
        assert case.valid[user][taken].all()
        assert len({case.item_ids[user, p] for p in taken}) == len(taken)
        assert len(taken) == min(count, len(distinct))


def test_random_centroids_are_uniform_in_training_and_fixed_at_inference():
    case = h.histories(3, users=400, length=5, distinct=True)
    points, valid = tf.constant(case.vectors), tf.ones([400, 5], tf.bool)
    picks, _ = random_points(points, valid, 2, 1e-4, tf.constant([1, 7], tf.int32))
    for place in (0, 1):
        counts = np.bincount(picks.numpy()[:, place], minlength=5)
        assert (np.abs(counts - 80) < 40).all()
    fixed, _ = random_points(points, valid, 2, 1e-4, None)
    assert len(np.unique(fixed.numpy(), axis=0)) == 1
    assert (fixed.numpy() == random_points(points, valid, 2, 1e-4, None)[0].numpy()).all()


@given(h.cases, st.integers(1, 5))
def test_farthest_centroids_are_distinct_valid_items(case, count):
    picks, chosen = farthest_points(tf.constant(case.vectors), tf.constant(case.valid), count, 1e-4)
    for user in range(len(case.valid)):
        taken = picks.numpy()[user][chosen.numpy()[user]]
        distinct = set(case.item_ids[user][case.valid[user]])
        assert case.valid[user][taken].all()
        assert len({case.item_ids[user, p] for p in taken}) == min(count, len(distinct))
        assert chosen.numpy()[user].sum() == min(count, len(distinct))


@given(h.cases, st.integers(1, 4), st.sampled_from(["farthest", "random_items", "gaussian"]))
def test_squashed_centroids_are_shorter_than_one(case, slots, start):
    made = h.extractor("dcm", slots, ablation={"centroid_norm": "squash", "centroid_init": start})
    found = h.extract(made, case)
    assert (np.linalg.norm(found.conditions[found.slot_valid], axis=-1) < 1.0).all()


def test_the_routing_matrix_starts_as_the_identity():
    tf.keras.utils.set_random_seed(1)
    config = h.ModelConfig(name="dcm", embedding_dim=h.DIM, ablation={"routing_matrix": True})
    (matrix,) = h.make_extractor(config).get_weights()
    np.testing.assert_array_equal(matrix, np.eye(h.DIM))
    assert not h.make_extractor(h.ModelConfig(name="dcm")).weights
