"""The sampled softmax against a plain NumPy one."""

from itertools import product

import numpy as np
import pytest
import tensorflow as tf

from trainer.frequency import CountedFrequency
from trainer.losses import Negatives, SampledSoftmax

RULES = ("best_slot", "argmax", "gumbel", "label_aware")


def case(batch=4, slots=3, negatives=5, seed=0):
    random = np.random.default_rng(seed)

    def normal(*shape):
        return random.normal(size=shape).astype(np.float32)

    valid = random.random((batch, slots)) < 0.7
    valid[:, 0] = True
    return (
        normal(batch, slots, 6),
        valid,
        normal(batch, 6),
        np.arange(1, batch + 1),
        normal(negatives, 6),
        np.arange(100, 100 + negatives),
    )


def frequency(shares):
    return None if shares is None else CountedFrequency(np.asarray(shares, np.float32))


def run(
    data,
    *,
    association="best_slot",
    temperature=0.5,
    in_batch=False,
    shares=None,
    uniform=True,
    population=200,
):
    users, valid, targets, ids, vectors, negative_ids = (tf.constant(part) for part in data)
    rule = SampledSoftmax(temperature=temperature, in_batch=in_batch, frequency=frequency(shares))
    negatives = Negatives(vectors, negative_ids, population) if uniform else None
    return rule(users, valid, targets, ids, negatives, association=association)


def gradient(data, association, *, in_batch=False, shares=None, temperature=0.5):
    """Loss of every example, and the slopes of its sum by users, targets and negatives."""
    users, targets, vectors = (tf.Variable(data[place]) for place in (0, 2, 4))
    rule = SampledSoftmax(temperature=temperature, in_batch=in_batch, frequency=frequency(shares))
    with tf.GradientTape() as tape:
        loss = rule(
            users,
            tf.constant(data[1]),
            targets,
            tf.constant(data[3]),
            Negatives(vectors, tf.constant(data[5]), 200),
            association=association,
            seed=tf.constant([1, 2]),
        ).loss
        total = tf.reduce_sum(loss)
    slopes = tape.gradient(total, (users, targets, vectors))
    return loss.numpy(), [tf.convert_to_tensor(slope).numpy() for slope in slopes]


def oracle(data, *, best_slot, temperature=0.5):
    """Eq. 8-9 example by example; the chosen slot or the best slot scores the negatives."""
    users, valid, targets, ids, vectors, negative_ids = data
    losses = []
    for user, mask, target, own_id in zip(users, valid, targets, ids, strict=True):
        kept = user[mask].astype(np.float64)
        chosen = kept[np.argmax(kept @ target)]
        logits = [chosen @ target / temperature]
        for vector, number in zip(vectors, negative_ids, strict=True):
            if number != own_id:
                score = (kept @ vector).max() if best_slot else chosen @ vector
                logits.append(score / temperature)
        losses.append(np.log(np.exp(logits).sum()) - logits[0])
    return np.array(losses)


@pytest.mark.parametrize("association", ["best_slot", "argmax"])
def test_loss_is_the_cross_entropy_of_the_target(association):
    found = run(case(), association=association).loss
    expected = oracle(case(), best_slot=association == "best_slot")
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("association", ["best_slot", "argmax"])
def test_a_negative_that_is_the_target_does_not_count(association):
    data = list(case())
    data[5] = np.array([1, 2, 100, 101, 102])
    found = run(data, association=association).loss
    expected = oracle(data, best_slot=association == "best_slot")
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.fault(28)
@pytest.mark.parametrize("in_batch", [True, False])
def test_all_candidates_equal_to_the_target_give_no_loss(in_batch):
    data = list(case())
    data[3], data[5] = np.ones(4, int), np.ones(5, int)
    found = run(data, in_batch=in_batch)
    np.testing.assert_allclose(found.loss, 0.0, atol=1e-5)


@pytest.mark.fault(29)
@pytest.mark.parametrize("association", RULES)
@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("batch", [1, 4])
def test_extreme_item_shares_keep_loss_and_gradient_finite(association, share, batch):
    loss, gradients = gradient(
        case(batch), association, in_batch=True, shares=np.full(200, share), temperature=0.1
    )
    assert np.isfinite(loss).all()
    assert all(np.isfinite(part).all() for part in gradients)


def test_in_batch_logits_are_corrected_by_how_often_an_item_is_drawn():
    data = case(batch=3)
    shares = np.array([0.1, 0.01, 0.2, 0.05], np.float32)
    found = run(data, in_batch=True, shares=shares, uniform=False, association="argmax").loss
    users, valid, targets, ids, _, _ = data
    expected = []
    for row in range(3):
        kept = users[row][valid[row]].astype(np.float64)
        chosen = kept[np.argmax(kept @ targets[row])]
        logits = targets @ chosen / 0.5 - np.log(3 * shares[ids])
        expected.append(np.log(np.exp(logits).sum()) - logits[row])
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_equal_shares_need_no_correction():
    plain = run(case(), in_batch=True, uniform=False).loss
    corrected = run(case(), in_batch=True, uniform=False, shares=np.full(8, 0.01)).loss
    np.testing.assert_allclose(plain, corrected, rtol=1e-4)


@pytest.mark.fault(27)
def test_a_batch_of_one_has_a_loss_with_uniform_negatives():
    data = case(batch=1)
    for in_batch in (True, False):
        assert np.isfinite(run(data, in_batch=in_batch).loss).all()


@pytest.mark.fault(27)
def test_a_batch_of_one_without_uniform_negatives_has_nothing_to_learn():
    found = run(case(batch=1), in_batch=True, uniform=False)
    np.testing.assert_allclose(found.loss, 0.0, atol=1e-6)


@pytest.mark.fault(30)
def test_invalid_slots_never_score():
    users, valid, targets, ids, vectors, negative_ids = case()
    poisoned = np.where(valid[..., np.newaxis], users, 1e3).astype(np.float32)
    for association in RULES:
        plain = run((users, valid, targets, ids, vectors, negative_ids), association=association)
        other = run((poisoned, valid, targets, ids, vectors, negative_ids), association=association)
        np.testing.assert_allclose(plain.loss, other.loss, rtol=1e-5)


@pytest.mark.fault(31)
def test_the_gradient_of_the_argmax_rule_reaches_one_slot():
    data = case()
    _, (users, _, _) = gradient(data, "argmax")
    own = np.where(data[1], np.einsum("bsd,bd->bs", data[0], data[2]), -np.inf)
    touched = np.abs(users).sum(-1) > 0
    np.testing.assert_array_equal(touched, np.eye(3, dtype=bool)[own.argmax(1)])


@pytest.mark.parametrize("association", ["gumbel", "label_aware"])
def test_the_gradient_of_a_soft_rule_reaches_every_valid_slot_and_no_other(association):
    data = list(case())
    data[0] /= 10.0  # so that no weight is too small for a float
    _, (users, _, _) = gradient(data, association)
    np.testing.assert_array_equal(np.abs(users).sum(-1) > 0, data[1])


def test_the_gradient_of_the_best_slot_rule_reaches_the_slots_that_score_something_best():
    users, valid, targets, _, vectors, _ = data = case()
    _, (gradients, _, _) = gradient(data, "best_slot")
    candidates = [np.vstack([target, vectors]) for target in targets]
    for row in range(len(users)):
        scores = np.where(valid[row, :, np.newaxis], users[row] @ candidates[row].T, -np.inf)
        best = np.isin(np.arange(3), scores.argmax(0))
        np.testing.assert_array_equal(np.abs(gradients[row]).sum(-1) > 0, best)


@pytest.mark.fault(31)
@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("association", ["argmax", "best_slot"])
def test_gradients_are_the_slopes_of_the_loss(association, in_batch):
    data = list(case())
    _, found = gradient(data, association, in_batch=in_batch)
    random = np.random.default_rng(5)
    for place, slope in zip((0, 2, 4), found, strict=True):
        direction = random.normal(size=slope.shape).astype(np.float32)
        sums = []
        for sign in (1, -1):
            moved = list(data)
            moved[place] = data[place] + sign * 1e-3 * direction
            sums.append(run(moved, association=association, in_batch=in_batch).loss.numpy().sum())
        np.testing.assert_allclose((sums[0] - sums[1]) / 2e-3, (slope * direction).sum(), rtol=2e-2)


@pytest.mark.fault(28)
@pytest.mark.parametrize("association", RULES)
def test_an_accidental_hit_has_no_mass_in_the_softmax(association):
    """Were a hit a candidate, the gradient of its vector would be its softmax mass."""
    data = list(case(negatives=4))
    data[3], data[5] = np.full(4, 7), np.array([7, 100, 7, 101])
    _, (_, _, candidates) = gradient(data, association)
    assert np.abs(candidates[[0, 2]]).max() < 1e-6
    assert np.abs(candidates[[1, 3]]).max() > 1e-3


@pytest.mark.fault(28)
@pytest.mark.parametrize("association", RULES)
def test_identical_candidates_share_the_mass_equally(association):
    data = list(case())
    data[0] = np.ones_like(data[0])
    data[2], data[4] = np.ones_like(data[2]), np.ones_like(data[4])
    loss, gradients = gradient(data, association)
    np.testing.assert_allclose(loss, np.log(6), rtol=1e-5)
    assert all(np.isfinite(part).all() for part in gradients)


def test_the_correction_makes_the_negatives_stand_for_the_catalogue():
    """Expectation over every possible draw: the sum over all other items of the catalogue.

    Row 0 has a fixed target; the other target of the batch is drawn with the items' shares,
    two more negatives uniformly. A candidate may come from either pool.
    """
    random = np.random.default_rng(3)
    items, shares = random.normal(size=(6, 6)).astype(np.float32), random.dirichlet(np.ones(6))
    user = random.normal(size=6).astype(np.float32)
    own, temperature = 2, 0.7
    scores = np.exp(items.astype(np.float64) @ user / temperature)
    expected_draws = shares + 2 / 6  # one drawn by share, two uniformly
    total = 0.0
    for other, first, second in product(range(6), repeat=3):
        data = (
            np.stack([user, user])[:, np.newaxis],
            np.ones((2, 1), bool),
            items[[own, other]],
            np.array([own, other]) + 1,
            items[[first, second]],
            np.array([first, second]) + 1,
        )
        found = run(
            data,
            association="argmax",
            temperature=temperature,
            in_batch=True,
            shares=np.concatenate([[0.0], shares]),
            population=6,
        )
        corrected = scores[own] / expected_draws[own]
        negatives = corrected * np.expm1(float(found.loss[0]))  # loss = log(1 + sum / corrected)
        total += shares[other] / 36 * negatives
    np.testing.assert_allclose(total, scores.sum() - scores[own], rtol=1e-4)


def test_unknown_items_are_drawn_in_batch_only():
    """Ids above the population never come out of the uniform draw."""
    data = list(case(batch=2, negatives=3))
    data[3], data[5] = np.array([1, 9]), np.array([2, 3, 4])
    shares = np.full(12, 0.05)
    found = run(data, in_batch=True, shares=shares, population=8, association="argmax").loss
    users, valid, targets, ids, vectors, negative_ids = data
    draws = np.where(np.arange(12) <= 8, 0.05 + 3 / 8, 0.05)
    expected = []
    for row in range(2):
        kept = users[row][valid[row]].astype(np.float64)
        chosen = kept[np.argmax(kept @ targets[row])]
        logits = np.concatenate([targets, vectors]) @ chosen / 0.5
        logits -= np.log(draws[np.concatenate([ids, negative_ids])])
        expected.append(np.log(np.exp(logits).sum()) - logits[row])
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_uniform_negatives_alone_need_no_correction():
    plain = run(case()).loss
    np.testing.assert_allclose(run(case(), shares=np.full(8, 0.3)).loss, plain, rtol=1e-6)
