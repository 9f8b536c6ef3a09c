"""How many slots a user keeps."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import ModelConfig
from trainer.interests import Interests
from trainer.interests.adaptive import adapt


def interests(seed, users, slots, length):
    """Random interests; masses have ties on purpose."""
    random = np.random.default_rng(seed)
    slot_valid = random.random((users, slots)) < 0.8
    feeds = np.where(slot_valid.any(1)[:, None], random.integers(-1, slots, (users, length)), -1)
    rows = np.arange(users)[:, None]
    feeds = np.where(slot_valid[rows, np.maximum(feeds, 0)], feeds, -1)
    return Interests(
        tf.constant(random.normal(size=(users, slots, 4)).astype(np.float32)),
        tf.constant(slot_valid),
        tf.constant(random.integers(1, 5, (users, slots)).astype(np.float32) * slot_valid),
        tf.constant(feeds.astype(np.int32)),
    )


def numpy_kept(rule, share, slot_valid, mass, items):
    """Oracle, one user: the slots that stay."""
    order = sorted(np.flatnonzero(slot_valid), key=lambda slot: (-mass[slot], slot))
    if rule == "history_size":
        return set(order[: max(1, min(len(mass), int(np.log2(items)) if items else 0))])
    total = mass[slot_valid].sum()
    return {slot for slot in order if mass[slot] >= share * total} | set(order[:1])


@given(
    st.integers(0, 10_000),
    st.sampled_from(["history_size", "cluster_mass"]),
    st.integers(1, 6),
    st.integers(1, 70),
    st.sampled_from([0.0, 0.1, 0.26, 0.6]),
)
def test_the_rule_keeps_the_slots_it_names(seed, rule, slots, length, share):
    before = interests(seed, 3, slots, length)
    valid = np.random.default_rng(seed).random((3, length)) < 0.9
    config = ModelConfig(
        num_interests=slots, adaptive_interests=rule, adaptive_min_mass_share=share
    )
    after = adapt(config, before, tf.constant(valid))
    slot_valid, mass = before.slot_valid.numpy(), before.mass.numpy()
    for user in range(3):
        kept = numpy_kept(rule, share, slot_valid[user], mass[user], int(valid[user].sum()))
        assert set(np.flatnonzero(after.slot_valid[user])) == kept
        expected = [slot if slot in kept else -1 for slot in before.history_slot[user].numpy()]
        assert after.history_slot[user].numpy().tolist() == expected
        left = [m if slot in kept else 0.0 for slot, m in enumerate(mass[user])]
        assert after.mass[user].numpy().tolist() == left
    np.testing.assert_array_equal(after.conditions, before.conditions)


def test_fixed_changes_nothing():
    before = interests(1, 3, 4, 5)
    assert adapt(ModelConfig(), before, tf.ones((3, 5), tf.bool)) is before


@pytest.mark.parametrize(("items", "slots"), [(0, 1), (3, 1), (4, 2), (7, 2), (8, 3), (64, 4)])
def test_history_size_keeps_the_logarithm_of_the_history(items, slots):
    before = Interests(
        tf.zeros([1, 4, 2]), tf.ones([1, 4], tf.bool), tf.ones([1, 4]), tf.zeros([1, 70], tf.int32)
    )
    config = ModelConfig(num_interests=4, adaptive_interests="history_size")
    after = adapt(config, before, tf.constant(np.arange(70)[None] < items))
    assert after.slot_valid.numpy().sum() == slots
