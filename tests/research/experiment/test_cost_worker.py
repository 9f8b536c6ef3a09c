import json

import numpy as np
import pytest

from research.experiment import cost_worker
from research.experiment.cost import FIGURES
from research.experiment.cost_config import CostConfig, CostPoint

POINT = CostPoint(
    history_length=6, num_interests=2, items=300, batch_size=8, embedding_dim=8, negatives=16
)


@pytest.fixture(scope="module")
def world():
    topics = cost_worker.item_topics(POINT)
    return topics, cost_worker.make_model("dcm_cr", POINT, topics)


def test_training_batches_hold_full_histories_of_known_items(world):
    topics, _ = world
    columns = cost_worker.training_columns(POINT, topics)
    history = columns["history_item_id_xf"]
    assert history.shape[1:] == (8, 6)
    assert history.min() >= 1 and history.max() <= 300
    targets = columns["item_id_xf"][..., 0]
    np.testing.assert_array_equal(columns["item_topics_xf"], topics[targets])


def test_the_stand_in_for_the_transform_graph_reads_numbers_cuts_and_pads(world):
    import tensorflow as tf

    transform = cost_worker.SyntheticTransform(cost_worker.transform_config(POINT))
    raw = {
        "history_item_id": tf.constant([["7", "12", ""]]),
        "history_timestamp": tf.constant([[1, 2, 0]], tf.int64),
        "history_action": tf.sparse.from_dense(tf.constant([["1", "1", "1"]])),
        "followed_topic": tf.constant([[str(n) for n in range(1, 31)]]),
        "item_id": tf.constant([["5"]]),
        "item_topics": tf.zeros([1, 0], tf.string),
    }
    columns = transform.transform_features_layer()(raw)
    assert columns["history_item_id_xf"].numpy().tolist() == [[7, 12, 0, 0, 0, 0]]
    assert columns["history_action_xf"].numpy().tolist() == [[1, 1, 1, 0, 0, 0]]
    assert columns["followed_topic_xf"].numpy().tolist() == [list(range(1, 21))]
    assert columns["item_topics_xf"].numpy().tolist() == [[0] * 10]


def test_training_steps_are_steps_of_the_real_model(world):
    topics, model = world
    before = int(model.steps.numpy())
    config = CostConfig(seconds_per_point=0.05, warm_up_steps=2)
    figures = cost_worker.measure_training(
        model, cost_worker.training_columns(POINT, topics), config
    )
    assert model.steps.numpy() >= before + 5
    assert figures["step_ms"] > 0
    # 8 examples per step; both figures are rounded.
    assert figures["examples_per_s"] == pytest.approx(8e3 / figures["step_ms"], rel=0.02)


@pytest.mark.nightly
def test_a_point_is_measured_in_full_and_written(tmp_path):
    asked = {
        "model": "two_tower",
        "point": POINT.model_dump(),
        "config": {"seconds_per_point": 0.05, "requests": 10, "num_results": 20},
    }
    (tmp_path / "point.json").write_text(json.dumps(asked))
    cost_worker.main([str(tmp_path / "point.json"), str(tmp_path / "out.json")])
    found = json.loads((tmp_path / "out.json").read_text())
    assert set(found) == {*FIGURES, "seconds"}
    assert all(value > 0 and np.isfinite(value) for value in found.values())
    # A whole answer cannot be faster than its first part; medians of ten requests vary.
    assert found["retrieve_p50_ms"] > 0.5 * found["embed_user_p50_ms"]
    assert found["embed_user_p99_ms"] >= found["embed_user_p50_ms"]


def test_catalogue_vectors_are_those_of_the_items_in_order(world):
    import tensorflow as tf

    _, model = world
    vectors = cost_worker._item_vectors(model, POINT.items)
    ids = tf.constant([1, 300], tf.int64)
    direct = model.item_tower(ids, tf.gather(model.item_topics, ids)).numpy()
    np.testing.assert_allclose(vectors[[0, -1]], direct, atol=1e-6)
    assert vectors.shape == (300, 8)
