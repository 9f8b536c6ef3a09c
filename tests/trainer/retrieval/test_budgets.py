from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.retrieval import oracles
from trainer.retrieval import budgets

_WEIGHT = st.one_of(
    st.floats(0.0, 1e6, width=32, allow_subnormal=False),
    st.sampled_from([0.0, 1.0, math.nan, math.inf, -1.0]),
)


@given(
    st.integers(1, 6).flatmap(
        lambda slots: st.lists(st.lists(_WEIGHT, min_size=slots, max_size=slots), max_size=4)
    ),
    st.integers(0, 500),
)
def test_every_row_with_weight_sums_to_its_total(weights, total):
    if not weights:
        return
    got = budgets.largest_remainder(
        tf.constant(weights, tf.float32), tf.fill([len(weights)], total)
    ).numpy()
    for row, given_weights in zip(got, weights, strict=True):
        positive = [math.isfinite(w) and w > 0 for w in given_weights]
        assert row.sum() == (total if any(positive) else 0)
        assert (row >= 0).all()
        assert all(p or not share for share, p in zip(row, positive, strict=True))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=7), st.integers(0, 120))
def test_whole_weights_give_what_exact_fractions_give(weights, total):
    got = budgets.largest_remainder(tf.constant([weights], tf.float32), tf.constant([total]))
    want = oracles.largest_remainder([float(w) for w in weights], total)
    assert got.numpy()[0].tolist() == want


def test_equal_remainders_go_to_the_lower_slot():
    got = budgets.largest_remainder(tf.constant([[1.0, 1.0, 1.0]]), tf.constant([5]))
    assert got.numpy().tolist() == [[2, 2, 1]]


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.booleans(), st.integers(0, 1)), min_size=1, max_size=7
    ),
    st.integers(1, 200),
    st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)
def test_slot_budgets_follow_mass_and_share(slots, total, share):
    mass = [float(m) for m, _, _ in slots]
    valid = [v for _, v, _ in slots]
    kind = [k for _, _, k in slots]
    got = budgets.slot_budgets(
        tf.constant([mass]), tf.constant([valid]), tf.constant([kind]), total, share
    ).numpy()[0]
    want = oracles.slot_budgets(mass, valid, kind, total, share)
    assert got.sum() == (total if any(valid) else 0)
    assert np.abs(got - want).max() <= 1
    assert all(v or not b for v, b in zip(valid, got, strict=True))


def test_without_mass_implicit_slots_share_alike():
    got = budgets.slot_budgets(
        tf.zeros([1, 3]), tf.constant([[True, True, False]]), tf.zeros([1, 3], tf.int32), 10, 0.2
    )
    assert got.numpy().tolist() == [[5, 5, 0]]


def test_an_empty_batch_has_budgets_of_its_shape():
    got = budgets.slot_budgets(
        tf.zeros([0, 3]), tf.zeros([0, 3], tf.bool), tf.zeros([0, 3], tf.int32), 10, 0.2
    )
    assert got.shape == (0, 3)
