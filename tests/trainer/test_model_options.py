"""Options of the model, each seen in what the model answers."""

import numpy as np
import pytest
import tensorflow as tf

from tests.markers import nightly
from tests.trainer.test_export import save_untrained
from tests.trainer.tiny import DAY, ITEMS, TOPICS, TRANSFORM
from trainer import features, inputs
from trainer.config import ModelConfig, TrainerConfig
from trainer.fit import TrainingJob, _item_clusters
from trainer.item_clusters import cluster_items
from trainer.model import RetrievalModel
from trainer.vocabularies import load_vocabularies

HISTORY = ["item 1", "item 6", "item 2", "item 9"]


def export(tiny, folder, **options):
    config = ModelConfig(name="dcm", embedding_dim=8, hidden_units=(8,), **options)
    save_untrained(tiny, folder / "model", config)
    return tf.saved_model.load(str(folder / "model"))


def embed(loaded, history=HISTORY, action="like", follows=("art",)):
    """Outputs of `embed_user` for one user; `action` is that of the newest item."""
    actions = [action, *["like"] * len(history)][: len(history)]
    answer = loaded.embed_user(
        timestamp=tf.constant([100 * DAY], tf.int64),
        history_item_id=tf.reshape(tf.constant(list(history), tf.string), [1, -1]),
        history_timestamp=tf.fill([1, len(history)], tf.constant(99 * DAY, tf.int64)),
        history_action=tf.reshape(tf.constant(actions, tf.string), [1, -1]),
        followed_topic=tf.constant([list(follows)]),
    )
    return {name: value.numpy()[0] for name, value in answer.items()}


@pytest.mark.parametrize("used", [True, *nightly(False)])
def test_history_actions_reach_the_embeddings_only_where_they_are_used(tiny, tmp_path, used):
    loaded = export(tiny, tmp_path, ablation={"history_actions": used})
    one, other = embed(loaded, action="like"), embed(loaded, action="hide")
    assert np.allclose(one["embeddings"], other["embeddings"], atol=1e-6) != used


@pytest.mark.parametrize("masked", [True, *nightly(False)])
def test_items_with_a_negative_action_feed_an_interest_only_where_they_are_not_masked(
    tiny, tmp_path, masked
):
    loaded = export(
        tiny, tmp_path, negative_actions=("hid*",), ablation={"mask_negative_actions": masked}
    )
    assert (embed(loaded, action="hide")["history_slot"][0] == -1) == masked
    assert embed(loaded, action="like")["history_slot"][0] >= 0


@pytest.mark.parametrize("used", [True, *nightly(False)])
def test_followed_topics_reach_implicit_slots_only_as_a_feature(tiny, tmp_path, used):
    loaded = export(tiny, tmp_path, followed_topics_feature=used)
    one, other = embed(loaded, follows=TOPICS[:1]), embed(loaded, follows=TOPICS[1:2])
    assert np.allclose(one["embeddings"], other["embeddings"], atol=1e-6) != used


def test_items_whose_features_are_missing_are_unknown_in_histories_alone(tiny, tmp_path):
    loaded = export(tiny, tmp_path, ablation={"missing_item_share": 0.9999})
    known, strange = embed(loaded), embed(loaded, history=["nobody knows it"])
    np.testing.assert_allclose(known["embeddings"][0], strange["embeddings"][0], atol=1e-6)
    assert (known["history_slot"] == -1).all()
    vectors = loaded.embed_items(
        item_id=tf.constant(ITEMS), item_topics=tf.fill([len(ITEMS), 1], "art")
    )["embeddings"].numpy()
    assert len(np.unique(vectors.round(5), axis=0)) == len(ITEMS)


def gradient(tiny, association, **options):
    """Gradient of a fresh model on some training examples, the same weights every time."""
    output = tiny.output()
    spec = output.transformed_feature_spec()
    files = [f"{tiny.examples}/Split-train/*"]
    vocabularies = load_vocabularies(output, TRANSFORM)
    corpus = inputs.read_columns(inputs.split_files(files, "corpus"), spec)
    topics = inputs.item_topics_table(corpus, vocabularies.item_rows)
    config = ModelConfig(
        name="dcm", embedding_dim=8, hidden_units=(8,), association=association, **options
    )
    tf.keras.utils.set_random_seed(1)
    model = RetrievalModel(config, TrainerConfig(), TRANSFORM, vocabularies, topics)
    model.build_from(spec)
    columns = inputs.read_columns(inputs.split_files(files, "train"), spec, limit=32, seed=1)
    batch = {name: tf.constant(column) for name, column in columns.items()}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch, training=True)
    found = tape.gradient(loss, model.user_tower.trainable_weights)
    return np.concatenate([np.ravel(tf.convert_to_tensor(part)) for part in found])


@pytest.mark.parametrize(
    ("association", "option", "values"),
    [
        ("gumbel", "gumbel_temperature", (0.1, 10.0)),
        ("label_aware", "label_attention_power", (0.0, 20.0)),
    ],
)
def test_association_options_reach_the_gradient(tiny, association, option, values):
    first, other, again = (
        gradient(tiny, association, **{option: value}) for value in (*values, values[0])
    )
    assert np.isfinite(first).all() and np.isfinite(other).all()
    np.testing.assert_allclose(first, again, rtol=1e-5, atol=1e-7)
    assert not np.allclose(first, other, rtol=1e-2)


@pytest.mark.parametrize("method", ["kmeans", "ward"])
def test_the_method_of_clustering_items_is_the_configured_one(tiny, tmp_path, method):
    output = tiny.output()
    spec = output.transformed_feature_spec()
    files = [f"{tiny.examples}/Split-train/*"]
    vocabularies = load_vocabularies(output, TRANSFORM)
    job = TrainingJob(
        examples=files,
        transform_graph=tiny.graph,
        model=ModelConfig(name="pfs", item_clusters=4, item_cluster_method=method),
        trainer=TrainerConfig(),
        transform=TRANSFORM,
        checkpoint_dir=str(tmp_path),
        log_dir=str(tmp_path),
    )
    examples = inputs.read_columns(inputs.split_files(files, features.TRAIN_SPLIT), spec)
    rows = vocabularies.item_rows
    want = cluster_items(examples, item_rows=rows, clusters=4, method=method, seed=1)
    np.testing.assert_array_equal(_item_clusters(job, spec, vocabularies), want)
