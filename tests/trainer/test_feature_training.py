"""Features of items and users: in the towers, in the SavedModel, in what is served."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.serving_validator.contract import broken_promises
from core.feature_config import FeaturesConfig
from tests.trainer.tiny import DAY, ITEMS, TRANSFORM, raw_splits, topics_of, transform
from trainer import features
from trainer.config import ModelConfig, RetrievalConfig, TrainerConfig
from trainer.export import export_model
from trainer.fit import TrainingJob, fit
from trainer.retrieval.filters import Attributes
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.signature import bind
from trainer.warm_start import load_warm_start, named_weights, save_warm_start

pytestmark = pytest.mark.slow("transforms features and trains with them")

FURTHER = FeaturesConfig(
    items={
        "group": "category",
        "hashed": {"kind": "category", "column": "group", "hash_buckets": 8},
        "tags": {"kind": "list", "max_values": 2},
        "size": {"kind": "number", "buckets": 4},
        "weight": {"kind": "number", "buckets": 0},
        "vector": {"kind": "embedding", "size": 2},
    },
    users={"region": "category", "age": "number"},
)


def item_values(item):
    """Every third item has no features; the others tell their group (item number modulo 4)."""
    number = ITEMS.index(item)
    if number % 3 == 0:
        return []
    group = number % 4
    return [
        *(f"{name}=g{group}" for name in ("group", "hashed")),
        *(f"tags=t{group}{n}" for n in range(3)),
        f"size={10 * group + number % 3}",
        f"weight={group}.5",
        f"vector={group} -{group}e-1",
    ]


def featured_splits():
    """The tiny data without topics: what groups items is told by their features alone."""
    splits = raw_splits()
    for split, rows in splits.items():
        for row in rows:
            row[features.ITEM_TOPICS] = []
            corpus = split == "corpus"
            row[features.ITEM_VALUES] = item_values(row[features.ITEM_ID][0]) if corpus else []
            number = 0 if corpus else int(row[features.USER_ID][0][1:])
            # Every fifth user is one of whom nothing is known.
            known = [f"region=r{number % 4}", f"age={number}"] if number % 5 else []
            row[features.USER_VALUES] = known
    return splits


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return transform(str(tmp_path_factory.mktemp("featured")), featured_splits(), further=FURTHER)


def trained(data, folder, epochs=1, **model):
    config = {"embedding_dim": 8, "hidden_units": (16,), "num_interests": 2, "explicit_slots": 1}
    return fit(
        TrainingJob(
            examples=[f"{data.examples}/Split-train/*"],
            transform_graph=data.graph,
            model=ModelConfig(**config, item_id_dropout=0.3, **model),
            trainer=TrainerConfig(
                batch_size=32,
                epochs=epochs,
                early_stopping_patience=20,
                learning_rate=0.03,
                uniform_negatives=16,
            ),
            transform=TRANSFORM,
            checkpoint_dir=str(folder / "checkpoints"),
            log_dir=str(folder / "log"),
            features=FURTHER,
        )
    )


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    found = trained(data, folder, epochs=12)
    export_model(found.model, found.transform_output, str(folder / "saved"))
    return found, folder / "saved"


@pytest.fixture(scope="module")
def saved(model):
    return tf.saved_model.load(str(model[1]))


def embed(saved, items, values):
    width = max(1, *map(len, values))
    texts = tf.constant([[*row, *[""] * (width - len(row))] for row in values])
    none = tf.fill([len(items), 1], "")
    return saved.embed_items(item_id=items, item_topics=none, item_features=texts)[
        "embeddings"
    ].numpy()


def user(rows=1, **further):
    return {
        "timestamp": tf.fill([rows], tf.constant(100 * DAY, tf.int64)),
        "history_item_id": tf.fill([rows, 1], ""),
        "history_timestamp": tf.fill([rows, 1], tf.constant(0, tf.int64)),
        "history_action": tf.fill([rows, 1], ""),
        "followed_topic": tf.fill([rows, 1], ""),
        **further,
    }


def test_transformed_values_are_those_of_the_catalogue(data):
    spec = data.output().transformed_feature_spec()
    shapes = {n: (f.shape, f.dtype) for n, f in spec.items() if n.startswith(("items.", "users."))}
    assert shapes == {
        "items.group_xf": ([1], tf.int64),
        "items.hashed_xf": ([1], tf.int64),
        "items.tags_xf": ([2], tf.int64),
        "items.size_xf": ([1], tf.int64),
        "items.weight_xf": ([2], tf.float32),
        "items.vector_xf": ([3], tf.float32),
        "users.region_xf": ([1], tf.int64),
        "users.age_xf": ([1], tf.int64),
    }
    assert sorted(data.output().vocabulary_by_name("items.group")) == [b"g0", b"g1", b"g2", b"g3"]


def test_new_items_lie_with_their_group_by_features_alone(model, saved):
    told = [item for item in ITEMS if item_values(item)]
    vectors = embed(saved, told, [item_values(item) for item in told])
    alike = [next(item for item in told if ITEMS.index(item) % 4 == group) for group in range(4)]
    new = embed(saved, ["never seen"] * 4, [item_values(item) for item in alike])
    groups = np.array([ITEMS.index(item) % 4 for item in told])
    nearest = groups[np.argsort(-(new @ vectors.T), axis=1)[:, :3]]
    assert (nearest == np.arange(4)[:, None]).mean() >= 0.75
    # Without features all of them are the same unknown item.
    assert np.ptp(embed(saved, ["never seen"] * 2, [[], []]), axis=0).max() == 0.0


def test_what_the_training_knows_is_what_the_saved_model_says(model, saved):
    found = model[0].model
    tokens = [token.decode() for token in found.vocabularies.items]
    ids = tf.range(1, 1 + len(tokens), dtype=tf.int64)
    inside = found.embed_items(ids).numpy()
    outside = embed(saved, tokens, [item_values(item) for item in tokens])
    np.testing.assert_allclose(outside, inside, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("text", ["group=unheard of", "size=big", "vector=1 2 3", "=", "", "a=b"])
def test_values_that_say_nothing_are_missing(saved, text):
    np.testing.assert_array_equal(embed(saved, ["new"], [[text]]), embed(saved, ["new"], [[""]]))


def test_features_of_users_move_those_without_a_history(saved):
    told = saved.embed_user(**user(2, user_features=tf.constant([["region=r1"], ["region=r2"]])))
    first = told["embeddings"].numpy()[:, 0]
    vectors = embed(saved, ITEMS, [item_values(item) for item in ITEMS])
    groups = np.arange(len(ITEMS)) % 4
    for group, scores in zip((1, 2), first @ vectors.T, strict=True):
        assert scores[groups == group].mean() > scores[groups != group].mean() + 0.1
    nothing = saved.embed_user(**user(user_features=tf.constant([[""]])))["embeddings"].numpy()
    assert np.isfinite(nothing).all()


@pytest.fixture(scope="module")
def served(saved, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("served") / "model")
    vectors = embed(saved, ITEMS, [item_values(item) for item in ITEMS])
    config = RetrievalConfig(num_results=5, filters=("group",), topic_filter=False)
    texts = [[f"g{n % 4}".encode()] for n in range(len(ITEMS))]
    ids, topics = [item.encode() for item in ITEMS], [[] for _ in ITEMS]
    attributes = Attributes({"group": texts}, {})
    save_retriever(Retriever(saved, ids, topics, vectors, config, attributes=attributes), folder)
    return folder, tf.saved_model.load(folder)


@pytest.mark.nightly
def test_every_signature_takes_features_and_answers_without(served):
    folder, loaded = served
    assert broken_promises(Path(folder), filtered=True) == []
    asked = user(user_features=tf.constant([["region=r1"]]))
    with_ = bind(loaded, "retrieve")(**asked)["item_id"].numpy()
    without = bind(loaded, "retrieve")(**user())["item_id"].numpy()
    assert with_.shape == without.shape == (1, 5)
    assert with_.tolist() != without.tolist()
    kept = bind(loaded, "retrieve_filtered")(**asked, filter=tf.constant([["group=g1"]]))
    assert all(ITEMS.index(i.decode()) % 4 == 1 for i in kept["item_id"].numpy()[0])
    example = tf.train.Example()
    example.features.feature["timestamp"].int64_list.value.append(100 * DAY)
    example.features.feature["user_features"].bytes_list.value.append(b"region=r1")
    said = bind(loaded, "retrieve_examples")(examples=tf.constant([example.SerializeToString()]))
    assert said["item_id"].numpy().tolist() == with_.tolist()
    scored = bind(loaded, "score_items")(**asked, item_id=tf.constant([ITEMS[:3]]))
    assert scored["known"].numpy().all()


def test_a_model_without_features_is_asked_the_same_requests(tmp_path):
    class Plain(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "timestamp")])
        def retrieve(self, timestamp):
            return {"item_id": timestamp}

    plain = Plain()
    tf.saved_model.save(plain, str(tmp_path), signatures={"retrieve": plain.retrieve})
    asked = {"timestamp": tf.constant([3], tf.int64), "user_features": tf.constant([["a=b"]])}
    answer = bind(tf.saved_model.load(str(tmp_path)), "retrieve")(**asked)
    assert answer["item_id"].numpy().tolist() == [3]


@pytest.mark.nightly
def test_similar_items_of_a_new_item_are_found_by_its_features(served):
    similar = bind(served[1], "similar_items")
    new = {"item_id": tf.constant(["new"]), "item_topics": tf.constant([[""]])}
    told = similar(**new, item_features=tf.constant([item_values(ITEMS[2])]))
    groups = [ITEMS.index(item.decode()) % 4 for item in told["item_id"].numpy()[0]]
    assert groups.count(2) >= 3
    assert bool(similar(**new)["known"].numpy()[0]) is False


@pytest.mark.nightly
def test_a_warm_start_follows_the_tokens_of_a_feature(model, data, tmp_path):
    found = model[0].model
    save_warm_start(found, str(tmp_path / "warm"), [])
    other = trained(data, tmp_path).model
    columns = found.vocabularies.features["items"]
    name = next(n for n in named_weights(other) if "feature_items_group" in n)
    rows = named_weights(found)[name].numpy()
    path = tmp_path / "warm" / "vocabulary" / "feature_items_group.txt"
    tokens = path.read_bytes().split(b"\n")[:-1]
    assert tokens == next(c.tokens for c in columns if c.weights == "feature_items_group")
    path.write_bytes(b"".join(token + b"\n" for token in [*tokens[1:], b"gone"]))
    load_warm_start(other, str(tmp_path / "warm"))
    np.testing.assert_array_equal(named_weights(other)[name].numpy()[2:], rows[1:-1])


@pytest.mark.nightly
def test_co_occurrence_places_features_too(data, tmp_path):
    found = trained(data, tmp_path, item_start="co_occurrence")
    assert found.started.startswith("from the co-occurrence of")


def test_topics_are_not_needed(saved):
    assert not any(topics_of(item) for item in ITEMS[::5])
    assert np.isfinite(embed(saved, ITEMS, [item_values(item) for item in ITEMS])).all()
