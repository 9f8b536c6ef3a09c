"""One loss over all slots of a user, and items that no training example has as its target."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from trainer import features, losses
from trainer.config import ModelConfig, TrainerConfig, TransformConfig
from trainer.model import RetrievalModel
from trainer.validation import all_slots
from trainer.vocabularies import Vocabularies

ITEMS, TOPICS, BUCKETS, TEMPERATURE = 20, 4, 2, 0.2
TRANSFORM = TransformConfig(
    history_max_items=5, follows_max_topics=3, item_topics_max=2, item_oov_buckets=BUCKETS
)
#: Items 1 to 20; every third one has no target.
UNTRAINED = np.arange(ITEMS) % 3 == 0
ITEM_TOPICS = np.zeros((1 + ITEMS + BUCKETS, 2), np.int32)
ITEM_TOPICS[1 : 1 + ITEMS, 0] = 1 + np.arange(ITEMS) % TOPICS


def vocabularies():
    listed = np.arange(1, 1 + ITEMS)
    return Vocabularies(
        items=[b"i%d" % n for n in range(ITEMS)],
        topics=[b"t%d" % n for n in range(TOPICS)],
        actions=[b"like"],
        item_counts=np.where(UNTRAINED, 1.0, 5.0),
        item_oov_buckets=BUCKETS,
        topic_oov_buckets=1,
    ).with_catalogue(listed)


def make_model(**options):
    tf_keras.utils.set_random_seed(1)
    config = ModelConfig(
        **{"name": "dcm_cr", "embedding_dim": 6, "hidden_units": (6,), "num_interests": 2,
           "explicit_slots": 2, "history_dropout": 0.0, "input_dropout": 0.0,
           "item_id_dropout": 0.0, **options}
    )  # fmt: skip
    trainer = TrainerConfig(uniform_negatives=8, temperature=TEMPERATURE)
    return RetrievalModel(config, trainer, TRANSFORM, vocabularies(), ITEM_TOPICS)


def batch(rows=6):
    random = np.random.default_rng(0)
    trained = 1 + np.flatnonzero(~UNTRAINED)
    target = random.choice(trained, (rows, 1))
    columns = {
        features.TIMESTAMP: np.zeros((rows, 1)),
        features.HISTORY_ITEM_ID: random.integers(1, 1 + ITEMS, (rows, 5)),
        features.HISTORY_TIMESTAMP: random.integers(1, 9, (rows, 5)),
        features.HISTORY_ACTION: np.ones((rows, 5)),
        features.FOLLOWED_TOPIC: random.integers(0, 1 + TOPICS, (rows, 3)),
        features.ITEM_ID: target,
        features.ITEM_TOPICS: ITEM_TOPICS[target[:, 0]],
        features.SOURCE_TOPIC: np.zeros((rows, 1)),  # nothing was served for a topic
        features.SOURCE_TOPIC_DERIVED: np.zeros((rows, 1)),
    }
    return {
        features.transformed_name(name): tf.constant(values, tf.int64)
        for name, values in columns.items()
    }


def vectors_of(model, ids):
    return model.item_tower(tf.constant(ids, tf.int64), tf.constant(ITEM_TOPICS[ids])).numpy()


def negatives_of(model):
    """The uniform negatives of the step that comes next."""
    seed = tf.stack([model.trainer_config.seed, tf.cast(model.steps, tf.int32)])
    count = model.trainer_config.uniform_negatives
    return losses.uniform_draws(model.drawn_rows, count, seed).numpy()


def test_the_loss_is_the_softmax_over_the_slots_that_are_served():
    model, columns = make_model(), batch()
    loss = float(model.compute_loss(columns, training=False))
    history = columns[features.transformed_name(features.HISTORY_ITEM_ID)].numpy()
    target = columns[features.transformed_name(features.ITEM_ID)].numpy()[:, 0]
    everything = vectors_of(model, np.arange(1 + ITEMS))
    users, valid = all_slots(model, columns, tf.constant(everything[history]))
    scores = np.einsum("bsd,id->bsi", users.numpy(), everything) / TEMPERATURE
    best = np.where(valid.numpy()[..., None], scores, -np.inf).max(axis=1)
    negatives = negatives_of(model)
    want = []
    for user, wanted in enumerate(target):
        others = best[user, negatives[negatives != wanted]]
        own = best[user, wanted]
        want.append(np.log(np.exp(own) + np.exp(others).sum()) - own)
    assert valid.numpy()[:, 2:].any()  # followed topics take part
    assert loss == pytest.approx(np.mean(want), rel=1e-4)


@pytest.mark.parametrize("joint", [True, False])
def test_followed_topics_are_trained_by_every_example_only_where_slots_share_a_loss(joint):
    """Without a source topic the paper's explicit loss has the null condition alone."""
    model, columns = (
        make_model(joint_association=joint, ablation={"null_condition": False}),
        batch(),
    )
    with tf.GradientTape() as tape:
        loss = model.compute_loss(columns, training=True)
    weights = model.topic_tower.trainable_weights
    gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
    assert any(np.abs(g.numpy()).max() > 0 for g in gradients) == joint


def test_which_items_have_a_target_is_what_the_catalogue_does_not_explain():
    found = vocabularies()
    np.testing.assert_array_equal(found.item_trained, ~UNTRAINED)
    # Of items that left the catalogue every count is a target.
    gone = Vocabularies([b"a", b"b"], [], [], np.array([1.0, 1.0]), 1, 1)
    assert gone.with_catalogue(np.array([2])).item_trained.tolist() == [True, False]


@pytest.mark.parametrize("least", [1, 2, 3, 4])
def test_an_item_of_few_targets_has_no_id_vector_of_its_own(least):
    counts = np.array([1.0, 2.0, 3.0, 4.0])  # each once for the catalogue: 0 to 3 targets
    found = Vocabularies([b"a", b"b", b"c", b"d"], [], [], counts, 1, 1)
    found = found.with_catalogue(np.arange(1, 5), least)
    # Where no item has as many, those with a target keep theirs.
    needed = least if least <= 3 else 1
    assert found.id_rows()[1:5].tolist() == [1 + n if n >= needed else 5 for n in range(4)]
    # Who is pulled towards users is pushed away from others, with an id vector or without.
    assert found.trained_rows().tolist() == [2, 3, 4]


def test_an_item_without_a_target_is_known_by_its_topics_alone():
    model = make_model()
    first, second = 1 + np.flatnonzero(UNTRAINED)[:2]
    same_bucket = [int(i) for i in 1 + np.flatnonzero(UNTRAINED) if i % BUCKETS == first % BUCKETS]
    topics = tf.ones([len(same_bucket), 2], tf.int32)
    found = model.item_tower(tf.constant(same_bucket, tf.int64), topics).numpy()
    np.testing.assert_allclose(found, np.tile(found[:1], (len(found), 1)), rtol=1e-6)
    own = make_model(untrained_items="own_id")
    apart = own.item_tower(tf.constant([first, second], tf.int64), topics[:2]).numpy()
    assert not np.allclose(apart[0], apart[1])


def test_no_step_touches_the_id_of_an_item_without_a_target():
    model, columns = make_model(), batch()
    with tf.GradientTape() as tape:
        loss = model.compute_loss(columns, training=True)
    gradient = tf.convert_to_tensor(tape.gradient(loss, model.item_tower.ids.trainable_weights[0]))
    touched = np.abs(gradient.numpy()).max(axis=1) > 0
    assert touched[1 : 1 + ITEMS][~UNTRAINED].any()
    assert not touched[1 : 1 + ITEMS][UNTRAINED].any()


def test_negatives_are_drawn_among_items_that_can_be_targets():
    model, drawn = make_model(), set()
    for step in range(40):
        model.steps.assign(step)
        drawn |= set(negatives_of(model).tolist())
    assert drawn == set((1 + np.flatnonzero(~UNTRAINED)).tolist())
