"""Item frequencies: counted and estimated while training."""

import signal

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from core.errors import TrainingError
from tests.trainer.test_loop import Kill, Setup, with_callback
from trainer.frequency import CountedFrequency, StreamingFrequency

BATCH = 8


def feed(batches, rows=6, learning_rate=0.1):
    estimate = StreamingFrequency(rows, BATCH, learning_rate)
    for step, batch in enumerate(batches):
        estimate.observe(tf.constant(batch, tf.int64), tf.constant(step, tf.int64))
    return estimate


def draws(estimate, rows=6, count=BATCH):
    return estimate.expected_draws(tf.range(rows, dtype=tf.int64), tf.constant(count)).numpy()


def oracle(batches, rows=6, rate=0.1):
    """Algorithm 2 of Yi et al. one occurrence after the other: expected draws per batch."""
    last, gap = np.zeros(rows), np.full(rows, rows / BATCH)
    for step, batch in enumerate(batches, start=1):
        for item in batch:
            gap[item] = (1 - rate) * gap[item] + rate * (step - last[item])
            last[item] = step
    return 1 / gap


@given(st.lists(st.lists(st.integers(0, 5), min_size=BATCH, max_size=BATCH), max_size=6))
def test_streaming_is_the_published_update_one_occurrence_at_a_time(batches):
    expected = np.minimum(oracle(batches), BATCH)
    np.testing.assert_allclose(draws(feed(batches)), expected, rtol=1e-4)


def test_streaming_comes_near_the_true_frequency():
    random = np.random.default_rng(0)
    shares = np.array([0.5, 0.25, 0.15, 0.06, 0.03, 0.01])
    estimate = feed(random.choice(6, size=(3000, BATCH), p=shares), learning_rate=0.01)
    np.testing.assert_allclose(draws(estimate), BATCH * shares, rtol=0.35)


def test_streaming_starts_from_equally_frequent_items():
    np.testing.assert_allclose(draws(feed([])), BATCH / 6, rtol=1e-6)


def test_streaming_follows_an_item_that_becomes_rare():
    often, rare = [0] * BATCH, [1] * BATCH
    before = draws(feed([often] * 50))
    after = draws(feed([often] * 50 + [rare] * 50 + [often]))
    assert after[0] < before[0] / 2


@pytest.mark.parametrize("make", [feed, lambda _: CountedFrequency(np.full(6, 1 / 6, np.float32))])
def test_fewer_draws_are_expected_from_a_smaller_batch(make):
    estimate = make([[0, 1, 2, 3, 4, 5, 0, 1]] * 3)
    np.testing.assert_allclose(draws(estimate, count=4), draws(estimate) / 2, rtol=1e-6)


def test_the_state_is_part_of_the_checkpoint_and_of_no_gradient(tiny, tmp_path):
    setup = Setup(tiny, tmp_path, **STREAMING)
    estimate = setup.model._frequency
    names = {variable.name for variable in setup.model.trainable_weights}
    assert not any("frequency" in name for name in names)
    batch = next(iter(setup.batches(0)))
    setup.model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    setup.checkpoints.save(setup.checkpoints.resume())
    kept = estimate.mean_gap.numpy()
    again = Setup(tiny, tmp_path, **STREAMING)
    assert (again.model._frequency.mean_gap.numpy() != kept).any()
    again.checkpoints.resume()
    np.testing.assert_array_equal(again.model._frequency.mean_gap, kept)
    np.testing.assert_array_equal(again.model._frequency.last_step, estimate.last_step)


STREAMING = {
    "name": "dcm_cr",
    "in_batch_negatives": True,
    "item_frequency": "streaming",
    "epochs": 1,
    "steps_per_epoch": 8,
}


def test_validation_does_not_move_the_estimate(tiny, tmp_path):
    setup = Setup(tiny, tmp_path, **STREAMING)
    before = setup.model._frequency.mean_gap.numpy()
    setup.model.compute_loss(next(iter(setup.batches(0))), training=False)
    np.testing.assert_array_equal(setup.model._frequency.mean_gap, before)


@pytest.mark.nightly
def test_a_resumed_training_with_streaming_frequencies_ends_bit_for_bit_alike(tiny, tmp_path):
    whole = Setup(tiny, tmp_path / "whole", **STREAMING)
    whole.loop.run()
    first = Setup(tiny, tmp_path / "cut", **STREAMING)
    with_callback(first, Kill(5))
    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with pytest.raises(TrainingError):
            first.loop.run()
    finally:
        signal.signal(signal.SIGTERM, previous)
    second = Setup(tiny, tmp_path / "cut", **STREAMING)
    second.loop.run()
    for mine, theirs in zip(second.weights(), whole.weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(second.model._frequency.mean_gap, whole.model._frequency.mean_gap)
