"""The sampled softmax against a plain NumPy one."""

import numpy as np
import pytest
import tensorflow as tf

from trainer import association
from trainer.losses import Negatives, SampledSoftmax


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


def run(data, *, best_slot=True, temperature=0.5, in_batch=False, probability=None, uniform=True):
    users, valid, targets, ids, vectors, negative_ids = data
    rule = SampledSoftmax(temperature=temperature, in_batch=in_batch, item_probability=probability)
    negatives = Negatives(tf.constant(vectors), tf.constant(negative_ids)) if uniform else None
    return rule(
        tf.constant(users),
        tf.constant(valid),
        tf.constant(targets),
        tf.constant(ids),
        negatives,
        best_slot=best_slot,
    )


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


@pytest.mark.parametrize("best_slot", [True, False])
def test_loss_is_the_cross_entropy_of_the_target(best_slot):
    found = run(case(), best_slot=best_slot).loss
    np.testing.assert_allclose(found, oracle(case(), best_slot=best_slot), rtol=1e-4)


@pytest.mark.parametrize("best_slot", [True, False])
def test_a_negative_that_is_the_target_does_not_count(best_slot):
    data = list(case())
    data[5] = np.array([1, 2, 100, 101, 102])
    found = run(data, best_slot=best_slot).loss
    np.testing.assert_allclose(found, oracle(data, best_slot=best_slot), rtol=1e-4)


@pytest.mark.parametrize("in_batch", [True, False])
def test_all_candidates_equal_to_the_target_give_no_loss(in_batch):
    data = list(case())
    data[3], data[5] = np.ones(4, int), np.ones(5, int)
    found = run(data, in_batch=in_batch)
    np.testing.assert_allclose(found.loss, 0.0, atol=1e-5)


@pytest.mark.parametrize("shares", [0.0, 1.0])
def test_extreme_item_shares_keep_loss_and_gradient_finite(shares):
    users, valid, targets, ids, vectors, negative_ids = case()
    rule = SampledSoftmax(
        temperature=0.1, in_batch=True, item_probability=np.full(8, shares, np.float32)
    )
    variable = tf.Variable(users)
    with tf.GradientTape() as tape:
        found = rule(
            variable,
            tf.constant(valid),
            tf.constant(targets),
            tf.constant(ids),
            Negatives(tf.constant(vectors), tf.constant(negative_ids)),
            best_slot=True,
        )
        loss = tf.reduce_mean(found.loss)
    assert np.isfinite(found.loss).all()
    assert np.isfinite(tape.gradient(loss, variable).numpy()).all()


def test_in_batch_logits_are_corrected_by_how_often_an_item_is_drawn():
    data = case(batch=3)
    shares = np.array([0.1, 0.01, 0.2, 0.05], np.float32)
    found = run(data, in_batch=True, probability=shares, uniform=False, best_slot=False).loss
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
    corrected = run(
        case(), in_batch=True, uniform=False, probability=np.full(8, 0.01, np.float32)
    ).loss
    np.testing.assert_allclose(plain, corrected, rtol=1e-4)


def test_a_batch_of_one_has_a_loss_with_uniform_negatives():
    data = case(batch=1)
    for in_batch in (True, False):
        assert np.isfinite(run(data, in_batch=in_batch).loss).all()


def test_a_batch_of_one_without_uniform_negatives_has_nothing_to_learn():
    found = run(case(batch=1), in_batch=True, uniform=False)
    np.testing.assert_allclose(found.loss, 0.0, atol=1e-6)


def test_invalid_slots_never_score():
    users, valid, targets, ids, vectors, negative_ids = case()
    poisoned = np.where(valid[..., np.newaxis], users, 1e3).astype(np.float32)
    for best_slot in (True, False):
        plain = run((users, valid, targets, ids, vectors, negative_ids), best_slot=best_slot)
        other = run((poisoned, valid, targets, ids, vectors, negative_ids), best_slot=best_slot)
        np.testing.assert_allclose(plain.loss, other.loss, rtol=1e-5)


def test_the_gradient_of_the_argmax_rule_reaches_one_slot():
    users, valid, targets, ids, vectors, negative_ids = case()
    variable = tf.Variable(users)
    rule = SampledSoftmax(temperature=0.5, in_batch=False, item_probability=None)
    with tf.GradientTape() as tape:
        found = rule(
            variable,
            tf.constant(valid),
            tf.constant(targets),
            tf.constant(ids),
            Negatives(tf.constant(vectors), tf.constant(negative_ids)),
            best_slot=False,
        )
        loss = tf.reduce_sum(found.loss)
    touched = np.abs(tape.gradient(loss, variable).numpy()).sum(-1) > 0
    np.testing.assert_array_equal(touched, np.eye(3, dtype=bool)[found.slot.numpy()])


def test_best_slot_scores_are_the_maximum_over_valid_slots():
    users, valid, _, _, vectors, _ = case(seed=3)
    found = association.best_slot_scores(users, tf.constant(valid), tf.constant(vectors)).numpy()
    for row in range(len(users)):
        np.testing.assert_allclose(found[row], (users[row][valid[row]] @ vectors.T).max(0), 1e-5)
