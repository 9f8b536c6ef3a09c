"""What holds for every interest extractor, whatever it computes."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.interests import histories as h
from trainer.config import IMPLICIT_MODELS
from trainer.interests import EXTRACTORS, History, make_extractor
from trainer.interests.adaptive import adapt

#: Name and settings of everything that makes interests.
ALL = {
    **{name: (name, {}) for name in IMPLICIT_MODELS},
    "dcm random items": ("dcm", {"ablation": {"centroid_init": "random_items"}}),
    "dcm gaussian": ("dcm", {"ablation": {"centroid_init": "gaussian"}}),
    "dcm soft": ("dcm", {"ablation": {"single_assignment": False}}),
    # Of length 1 the centroids of one item would all be the same one, and its slot rounding.
    "dcm gaussian soft": (
        "dcm",
        {
            "ablation": {
                "centroid_init": "gaussian",
                "single_assignment": False,
                "centroid_norm": "squash",
            }
        },
    ),
    "dcm with S": ("dcm", {"ablation": {"routing_matrix": True}}),
}
#: Those whose draws or picks go by position.
ORDERED = {"mind", "last_k", "dcm random items", "dcm gaussian", "dcm gaussian soft"}
#: Those that may give one item to two slots, which are then equal but for rounding.
TWICE = {"dcm gaussian", "dcm gaussian soft"}
every = pytest.mark.parametrize("kind", ALL)


@pytest.fixture(scope="module")
def extractors():
    return {kind: h.extractor(name, **config) for kind, (name, config) in ALL.items()}


def assert_same(one, other, length):
    """Equal interests; conditions count where the slot is valid."""
    np.testing.assert_array_equal(one.slot_valid, other.slot_valid)
    valid = one.slot_valid
    np.testing.assert_allclose(one.conditions[valid], other.conditions[valid], atol=2e-5)
    np.testing.assert_allclose(one.mass[valid], other.mass[valid], atol=2e-5)
    np.testing.assert_array_equal(one.history_slot, other.history_slot[:, :length])


def test_every_model_name_has_its_extractor():
    assert set(EXTRACTORS) == set(IMPLICIT_MODELS)


@pytest.mark.fault(31)
@every
@given(case=h.cases, padding=st.integers(1, 5))
def test_padding_changes_nothing(extractors, kind, case, padding):
    case = h.without_repeats(case) if kind in TWICE else case
    longer = h.extract(extractors[kind], h.padded(case, padding))
    assert_same(h.extract(extractors[kind], case), longer, case.valid.shape[1])
    assert (longer.history_slot[:, case.valid.shape[1] :] == -1).all()


@every
@given(case=h.cases)
def test_users_do_not_know_each_other(extractors, kind, case):
    case = h.without_repeats(case) if kind in TWICE else case
    together = h.extract(extractors[kind], case)
    alone = h.extract(extractors[kind], h.Case(*(part[-1:] for part in case)))
    last = type(together)(*(part[-1:] for part in together))
    assert_same(alone, last, case.valid.shape[1])


@pytest.mark.fault(31)
@every
@given(case=h.cases)
def test_invalid_items_change_nothing(extractors, kind, case):
    where = case.valid[:, :, np.newaxis]
    garbage = case._replace(
        vectors=np.where(where, case.vectors, -9.0).astype(np.float32),
        encoded=np.where(where, case.encoded, 7.0).astype(np.float32),
    )
    before, after = (h.extract(extractors[kind], each) for each in (case, garbage))
    assert_same(before, after, case.valid.shape[1])
    assert (before.history_slot[~case.valid] == -1).all()


@every
@given(case=h.cases)
def test_slots_are_unit_vectors_with_mass_and_items_feed_valid_ones(extractors, kind, case):
    found = h.extract(extractors[kind], case)
    slots = extractors[kind].num_slots
    assert found.conditions.shape == (len(case.valid), slots, h.DIM)
    norms = np.linalg.norm(found.conditions[found.slot_valid], axis=-1)
    if "centroid_norm" in ALL[kind][1].get("ablation", {}):
        assert (norms < 1.0).all()
    else:
        np.testing.assert_allclose(norms, 1.0, atol=1e-4)
    assert (found.mass[found.slot_valid] > 0).all()
    known = h.TABLE[case.item_ids] >= 0 if kind == "pfs" else True
    some = (case.valid & known).any(axis=1)
    np.testing.assert_array_equal(found.slot_valid.any(axis=1), some)
    for user, position in np.argwhere(found.history_slot >= 0):
        assert found.slot_valid[user, found.history_slot[user, position]]


@pytest.mark.fault(31)
@pytest.mark.parametrize("kind", sorted(set(ALL) - ORDERED))
@given(seed=st.integers(0, 10_000), length=st.integers(2, 9))
def test_the_order_of_older_items_does_not_matter(extractors, kind, seed, length):
    """Distinct items; the most recent one stays, for VA-FPI starts from it.

    The clusters of `pfs` may tie in size, which recency decides: only users without
    such a tie are compared.
    """
    case = h.histories(seed, users=2, length=length, distinct=True)
    case = case._replace(valid=case.valid | (np.arange(length) == 0))
    order = np.concatenate([[0], 1 + np.random.default_rng(seed).permutation(length - 1)])
    if kind == "pfs":
        sizes = [
            np.bincount(h.TABLE[i[v]] + 1, minlength=6)[1:]
            for i, v in zip(*case[:1:-1], strict=True)
        ]
        keep = [len(set(s[s > 0])) == (s > 0).sum() for s in sizes]
        case = h.Case(*(part[keep] for part in case))
    before, after = (h.extract(extractors[kind], each) for each in (case, case.take(order)))
    assert_same(before._replace(history_slot=before.history_slot[:, order]), after, length)


@pytest.mark.fault(30)
@every
@pytest.mark.parametrize("history", ["empty", "equal", "single", "mixed"])
def test_gradients_are_finite(extractors, kind, history):
    case = h.histories(1, users=3, length=5)
    valid = {"empty": case.valid & False, "single": np.arange(5) == [[0], [2], [4]]}
    case = case._replace(valid=valid.get(history, case.valid))
    if history == "equal":
        case = h.Case(*(np.repeat(part[:, :1], 5, axis=1) for part in case))
        case = case._replace(valid=np.ones((3, 5), bool), item_ids=np.full((3, 5), 4))
    vectors, encoded = tf.Variable(case.vectors), tf.Variable(case.encoded)
    made = extractors[kind]
    wanted = [encoded, *made.trainable_weights]
    with tf.GradientTape() as tape:
        found = made(
            History(vectors * 1.0, encoded * 1.0, tf.constant(case.valid), case.item_ids), seed=None
        )
        loss = tf.reduce_sum(tf.sin(3.0 * found.conditions)) + tf.reduce_sum(found.mass)
    for gradient in tape.gradient(loss, wanted, unconnected_gradients="zero"):
        assert np.isfinite(gradient).all()
    assert np.isfinite(found.conditions).all()


@every
def test_gradients_reach_valid_items_and_every_weight(extractors, kind):
    case = h.histories(3, users=4, length=8, distinct=True)
    encoded, made = tf.Variable(case.encoded), extractors[kind]
    with tf.GradientTape() as tape:
        found = made(h.as_history(case)._replace(encoded=encoded * 1.0), seed=None)
        kept = tf.where(found.slot_valid[..., tf.newaxis], found.conditions, 0.0)
        loss = tf.reduce_sum(tf.sin(3.0 * kept))
    gradient, *rest = tape.gradient(loss, [encoded, *made.trainable_weights])
    reached = np.abs(gradient.numpy()).max(axis=-1) > 0
    assert not reached[~case.valid].any()
    assert reached[found.history_slot.numpy() >= 0].all()
    assert all(np.abs(each.numpy()).max() > 0 for each in rest)


@every
def test_graphs_with_unknown_shapes_answer_as_eager_code_does(kind):
    name, config = ALL[kind]
    made = h.extractor(name, **config)
    specs = [
        tf.TensorSpec([None, None, h.DIM]),
        tf.TensorSpec([None, None, h.DIM]),
        tf.TensorSpec([None, None], tf.bool),
        tf.TensorSpec([None, None], tf.int64),
    ]
    graph = tf.function(lambda *parts: made(History(*parts), seed=None), input_signature=specs)
    for users, length in ((0, 3), (1, 1), (3, 7)):
        case = h.histories(5, users=users, length=length)
        assert_same(h.extract(made, case), graph(*h.as_history(case)), length)


@every
def test_randomness_goes_by_the_seed_of_the_step(extractors, kind):
    """Same step, same draw; other steps draw anew where there is something to draw."""
    case = h.histories(2, users=6, length=8, distinct=True)
    one, again, other = (
        h.extract(extractors[kind], case, seed) for seed in ([1, 4], [1, 4], [1, 5])
    )
    assert_same(one, again, 8)
    random = kind == "mind" or "random" in kind or "gaussian" in kind
    assert (one.history_slot != other.history_slot).any() == random


@every
@pytest.mark.parametrize("rule", ["history_size", "cluster_mass"])
def test_adaptive_interests_keep_one_slot_at_least(extractors, kind, rule):
    name, _ = ALL[kind]
    config = h.ModelConfig(name=name, num_interests=3, adaptive_interests=rule)
    case = h.histories(6, users=8, length=9)
    before = extractors[kind](h.as_history(case), seed=None)
    after = adapt(config, before, tf.constant(case.valid))
    assert (after.slot_valid.numpy() <= before.slot_valid.numpy()).all()
    np.testing.assert_array_equal(
        after.slot_valid.numpy().any(axis=1), before.slot_valid.numpy().any(axis=1)
    )


def test_models_without_implicit_slots_have_no_extractor():
    assert make_extractor(h.ModelConfig(name="cr")) is None
    assert make_extractor(h.ModelConfig(name="last_k_cr")).num_slots == 4
