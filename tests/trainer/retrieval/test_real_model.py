"""The retriever over an exported model: transform graph, vocabularies and all."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.test_export import batch, exported, loaded  # noqa: F401
from tests.trainer.tiny import ITEMS, topics_of
from trainer.config import RetrievalConfig
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.signature import bind


@pytest.mark.nightly
def test_it_is_saved_moved_and_answers_without_the_model(exported, loaded, tmp_path):  # noqa: F811
    ids = [item.encode() for item in ITEMS]
    topics = [[t.encode() for t in topics_of(item)] for item in ITEMS]
    width = max(len(t) for t in topics)
    vectors = loaded.embed_items(
        item_id=tf.constant(ids),
        item_topics=tf.constant([[*t, *[b""] * (width - len(t))] for t in topics]),
    )["embeddings"].numpy()
    copy = tmp_path / "model"
    shutil.copytree(exported[1], copy)
    model = tf.saved_model.load(str(copy))
    retriever = Retriever(model, ids, topics, vectors, RetrievalConfig(num_results=10))
    save_retriever(retriever, str(tmp_path / "retriever"))
    shutil.rmtree(copy)
    shutil.move(tmp_path / "retriever", tmp_path / "moved")
    served = bind(tf.saved_model.load(str(tmp_path / "moved")), "retrieve")
    for shape in [(0, 0, 0), (1, 0, 0), (3, 40, 30), (64, 5, 2)]:
        asked = batch(*shape)
        got, want = served(**asked), retriever.retrieve(**asked)
        for name, value in want.items():
            np.testing.assert_array_equal(got[name].numpy(), value.numpy())
        assert (got["count"].numpy() == 10).all()
        assert got["history_slot"].shape == shape[:2]
