"""The SavedModel: shapes, skew, cold users, re-export."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.markers import nightly
from tests.trainer.test_run_fn import request
from tests.trainer.tiny import DAY, ITEMS, TRANSFORM, topics_of
from trainer import features, inputs
from trainer.config import ModelConfig, TrainerConfig
from trainer.export import export_model
from trainer.model import RetrievalModel
from trainer.validation import all_slots
from trainer.vocabularies import load_vocabularies

SLOTS, IMPLICIT, DIM = 5, 3, 8


def save_untrained(tiny, folder, config):
    """Builds a model without training it and writes it to `folder`."""
    output = tiny.output()
    spec = output.transformed_feature_spec()
    tf.keras.utils.set_random_seed(1)
    vocabularies = load_vocabularies(output, TRANSFORM)
    files = inputs.split_files([f"{tiny.examples}/Split-train/*"], "corpus")
    topics = inputs.item_topics_table(inputs.read_columns(files, spec), vocabularies.item_rows)
    clusters = np.arange(vocabularies.item_rows) % 4 - 1
    model = RetrievalModel(config, TrainerConfig(), TRANSFORM, vocabularies, topics, clusters)
    model.build_from(spec)
    for weight in model.trainable_weights:  # nothing may hide behind a zero
        weight.assign_add(tf.random.normal(weight.shape, stddev=0.1))
    export_model(model, output, str(folder))
    return model


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """An untrained dcm_cr model and its folder."""
    config = ModelConfig(
        embedding_dim=DIM,
        hidden_units=(8,),
        num_interests=IMPLICIT,
        explicit_slots=SLOTS - IMPLICIT,
        negative_actions=("hid*",),
    )
    folder = tmp_path_factory.mktemp("export") / "model"
    return save_untrained(tiny, folder, config), folder


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported[1]))


def batch(rows, length, follows):
    return {
        "timestamp": tf.fill([rows], tf.constant(100 * DAY, tf.int64)),
        "history_item_id": tf.fill([rows, length], "item 3"),
        "history_timestamp": tf.fill([rows, length], tf.constant(5, tf.int64)),
        "history_action": tf.fill([rows, length], "like"),
        "followed_topic": tf.fill([rows, follows], "art"),
    }


@pytest.mark.parametrize(
    "shape", [(0, 0, 0), (0, 4, 2), (1, 0, 0), (1, 0, 3), (2, 1, 0), (3, 40, 30)]
)
def test_any_batch_history_and_follows_are_answered(loaded, shape):
    rows, length, _ = shape
    answer = loaded.embed_user(**batch(*shape))
    assert answer["embeddings"].shape == (rows, SLOTS, DIM)
    for name in ("slot_valid", "mass", "slot_kind", "slot_topic"):
        assert answer[name].shape == (rows, SLOTS)
    assert answer["history_slot"].shape == (rows, length)
    assert answer["slot_valid"].numpy().any(axis=1).all()
    dtypes = {name: value.dtype for name, value in answer.items()}
    assert dtypes == {
        "embeddings": tf.float32,
        "slot_valid": tf.bool,
        "mass": tf.float32,
        "slot_kind": tf.int32,
        "slot_topic": tf.string,
        "history_slot": tf.int32,
    }


@pytest.mark.parametrize("signature", ["serving_default", "embed_user"])
def test_signatures_answer_as_the_function_does(loaded, signature):
    mine = loaded.embed_user(**batch(2, 3, 1))
    theirs = loaded.signatures[signature](**batch(2, 3, 1))
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name])


def test_a_cold_user_has_one_learned_embedding(loaded):
    for history in ([], ["never seen"], ["", ""]):
        answer = loaded.embed_user(**request(history))
        assert answer["slot_valid"].numpy()[0].tolist() == [True, False, False, False, False]
        assert answer["mass"].numpy()[0].tolist() == [1, 0, 0, 0, 0]
        assert (answer["history_slot"].numpy() == -1).all()


def test_follows_make_explicit_slots_and_unknown_topics_do_not(loaded):
    answer = loaded.embed_user(**request([], ["food", "never seen", "art"]))
    assert answer["slot_topic"].numpy()[0].tolist() == [b"", b"", b"", b"food", b"art"]
    assert answer["slot_kind"].numpy()[0].tolist() == [0, 0, 0, 1, 1]
    assert answer["slot_valid"].numpy()[0].tolist() == [True, False, False, True, True]
    assert answer["mass"].numpy()[0, IMPLICIT:].tolist() == [0, 0]


def test_negative_actions_feed_no_slot(loaded):
    asked = request(["item 1", "item 2"])
    asked["history_action"] = tf.constant([["hide", "like"]])
    slots = loaded.embed_user(**asked)["history_slot"].numpy()[0]
    assert slots.tolist() == [-1, 0]


def test_padding_of_a_request_changes_nothing(loaded):
    plain = loaded.embed_user(**request(["item 1", "item 2"], ["art"]))
    asked = request(["item 1", "item 2", ""], ["art", "", ""])
    asked["history_action"] = tf.constant([["like", "like", ""]])
    padded = loaded.embed_user(**asked)
    np.testing.assert_allclose(plain["embeddings"], padded["embeddings"], atol=1e-6)
    np.testing.assert_array_equal(plain["slot_topic"], padded["slot_topic"])
    assert padded["history_slot"].numpy()[0, 2] == -1


def assert_serves_what_it_trained(tiny, model, loaded, every):
    """Raw examples asked of the SavedModel equal the model on Transform's output."""
    spec = tiny.output().transformed_feature_spec()
    files = inputs.split_files([f"{tiny.examples}/Split-train/*"], "eval")
    columns = {n: tf.constant(c) for n, c in inputs.read_columns(files, spec).items()}
    (vectors,) = model.embed_distinct([columns["history_item_id_xf"]])
    trained, _ = all_slots(model, columns, vectors)
    rows = tiny.raw["eval"]
    for place in range(0, len(rows), every):
        row = rows[place]
        asked = request(row[features.HISTORY_ITEM_ID], row[features.FOLLOWED_TOPIC])
        asked["history_timestamp"] = tf.constant([row[features.HISTORY_TIMESTAMP]], tf.int64)
        asked["history_action"] = tf.constant([row[features.HISTORY_ACTION]])
        answer = loaded.embed_user(**asked)
        valid = answer["slot_valid"].numpy()[0]
        # The draw of topics differs; one follow at most leaves nothing to draw.
        np.testing.assert_allclose(
            answer["embeddings"].numpy()[0][valid], trained.numpy()[place][valid], atol=1e-5
        )


@pytest.mark.fault(51)
def test_serving_sees_the_features_that_training_saw(tiny, exported, loaded):
    assert_serves_what_it_trained(tiny, exported[0], loaded, every=7)


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "pfs_cr", "adaptive_interests": "cluster_mass"},
        *nightly(
            {"name": "self_attention"},
            {"name": "interest_token"},
            {"name": "mind"},
            {"name": "last_k"},
            {"name": "dcm", "ablation": {"centroid_init": "gaussian", "single_assignment": False}},
        ),
        {
            "name": "dcm",
            "ablation": {
                "centroid_init": "random_items",
                "validity_aware": False,
                "routing_matrix": True,
            },
            "adaptive_interests": "history_size",
        },
    ],
    ids=str,
)
def test_every_kind_of_interest_survives_saving(tiny, tmp_path, settings):
    config = ModelConfig(
        embedding_dim=DIM, hidden_units=(8,), num_interests=IMPLICIT, attention_units=8, **settings
    )
    model = save_untrained(tiny, tmp_path / "model", config)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    assert_serves_what_it_trained(tiny, model, loaded, every=20)
    cold = loaded.embed_user(**request(["never seen"]))
    assert cold["slot_valid"].numpy()[0].any()
    assert np.isfinite(cold["embeddings"]).all()


def test_items_are_embedded_as_in_training(exported, loaded):
    model, _ = exported
    topics = [[*topics_of(item), ""][:1] for item in ITEMS]
    found = loaded.embed_items(item_id=tf.constant(ITEMS), item_topics=tf.constant(topics))
    rows = [1 + model.vocabularies.items.index(item.encode()) for item in ITEMS]
    (expected,) = model.embed_distinct([tf.constant(rows, tf.int64)])
    np.testing.assert_allclose(found["embeddings"], expected, atol=1e-6)


def test_a_new_item_takes_its_vector_from_its_topics(loaded):
    ids = tf.constant(["new 1", "new 1", "new 1"])
    topics = tf.constant([["art", ""], ["", "art"], ["cars", ""]])
    art, also_art, cars = loaded.embed_items(item_id=ids, item_topics=topics)["embeddings"].numpy()
    np.testing.assert_allclose(art, also_art, atol=1e-6)
    assert np.linalg.norm(art - cars) > 0.1


def test_no_items_and_no_topics_are_answered(loaded):
    none = loaded.embed_items(
        item_id=tf.zeros([0], tf.string), item_topics=tf.zeros([0, 2], tf.string)
    )
    assert none["embeddings"].shape == (0, DIM)
    bare = loaded.embed_items(
        item_id=tf.constant(["item 1"]), item_topics=tf.zeros([1, 0], tf.string)
    )
    assert np.isfinite(bare["embeddings"]).all()


_ASK = """
import sys
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
answer = loaded.signatures["serving_default"](
    timestamp=tf.constant([8640000], tf.int64),
    history_item_id=tf.constant([["item 3", "item 4"]]),
    history_timestamp=tf.constant([[1, 2]], tf.int64),
    history_action=tf.constant([["like", "like"]]),
    followed_topic=tf.constant([["art"]]),
)
np.save(sys.argv[2], answer["embeddings"].numpy())
"""


@pytest.mark.nightly  # every retriever that IndexBuilder saves does it, too
def test_it_can_be_saved_again_inside_another_module(exported, tmp_path):
    """The bundle outlives the export: vocabularies travel with the second SavedModel."""
    first, second, moved = (tmp_path / name for name in ("first", "second", "moved"))
    shutil.copytree(exported[1], first)

    class Outer(tf.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.int64, "timestamp"),
                tf.TensorSpec([None, None], tf.string, "history_item_id"),
                tf.TensorSpec([None, None], tf.int64, "history_timestamp"),
                tf.TensorSpec([None, None], tf.string, "history_action"),
                tf.TensorSpec([None, None], tf.string, "followed_topic"),
            ]
        )
        def retrieve(self, timestamp, items, stamps, actions, topics):
            return self.inner.embed_user(
                timestamp=timestamp,
                history_item_id=items,
                history_timestamp=stamps,
                history_action=actions,
                followed_topic=topics,
            )

    outer = Outer(tf.saved_model.load(str(first)))
    tf.saved_model.save(outer, str(second), signatures={"serving_default": outer.retrieve})
    command = [sys.executable, "-c", _ASK]
    subprocess.run([*command, str(first), str(tmp_path / "a.npy")], check=True)
    shutil.rmtree(first)
    second.rename(moved)
    subprocess.run([*command, str(moved), str(tmp_path / "b.npy")], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


@pytest.mark.parametrize("width", [8, *nightly(16)])
def test_an_empty_batch_is_answered_by_a_session(tiny, tmp_path, width):
    config = ModelConfig(embedding_dim=width, hidden_units=(8,))
    save_untrained(tiny, tmp_path / "model", config)
    asked = {name: value.numpy() for name, value in batch(0, 4, 2).items()}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(tmp_path / "model"))
        signature = loaded.signature_def["embed_user"]
        feeds = {signature.inputs[name].name: value for name, value in asked.items()}
        found = session.run(signature.outputs["embeddings"].name, feeds)
    assert found.shape[0] == 0 and found.shape[2] == width
