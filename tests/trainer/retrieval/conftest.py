"""A small model of known vectors, and the vectors of its items."""

import pytest
import tensorflow as tf

from tests.trainer.retrieval.fake_model import FakeModel, save_fake_model
from tests.trainer.retrieval.plain import IDS, ITEMS, TOPICS


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("model"))
    save_fake_model(FakeModel(IDS, TOPICS), path)
    return tf.saved_model.load(path)


@pytest.fixture(scope="session")
def vectors(model):
    no_topics = tf.zeros([ITEMS, 1], tf.string)
    return model.embed_items(item_id=tf.constant(IDS), item_topics=no_topics)["embeddings"].numpy()
