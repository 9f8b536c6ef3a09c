"""Mixed precision: where it computes, what stays float32, how float16 is scaled."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.tools import saved_model_utils

from trainer.config import TrainerConfig
from trainer.optimizer import descend, make_optimizer
from trainer.run_fn import run_fn
from trainer.towers import _Dense


def losses(folder):
    return [epoch["loss"] for epoch in json.loads((folder / "run/history.json").read_text())]


@pytest.mark.slow("two trainings")
@pytest.mark.nightly
@pytest.mark.parametrize("name", ["two_tower", "dcm_cr"])
def test_bfloat16_learns_what_float32_learns_and_exports_float32(tiny, tmp_path, name):
    for precision in ("float32", "mixed_bfloat16"):
        folder = tmp_path / precision
        run_fn(tiny.fn_args(folder, {"name": name}, {"epochs": 1, "precision": precision}))
    expected, found = (losses(tmp_path / name) for name in ("float32", "mixed_bfloat16"))
    np.testing.assert_allclose(found, expected, rtol=0.02)
    assert found != expected
    graph = saved_model_utils.get_meta_graph_def(
        str(tmp_path / "mixed_bfloat16/Format-Serving"), "serve"
    ).graph_def
    nodes = [node for function in graph.library.function for node in function.node_def]
    types = {value.type for node in nodes for value in node.attr.values() if value.type}
    assert tf.float32.as_datatype_enum in types
    assert not types & {tf.bfloat16.as_datatype_enum, tf.half.as_datatype_enum}


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_a_dense_layer_computes_in_the_dtype_of_its_inputs_with_float32_weights(dtype):
    layer = _Dense(3, activation="gelu")
    inputs = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 5)), tf.float32)
    expected, found = layer(inputs), layer(tf.cast(inputs, dtype))
    assert found.dtype == dtype and {weight.dtype for weight in layer.weights} == {tf.float32}
    np.testing.assert_allclose(tf.cast(found, tf.float32), expected, rtol=0.05, atol=0.02)


class Table:
    """A model of one table whose loss is the sum of the rows asked for, times a factor."""

    def __init__(self, precision):
        config = TrainerConfig(precision=precision, lazy_update_min_rows=0)
        self.rows = tf.Variable(tf.ones((6, 2)))
        self.trainable_variables = [self.rows]
        self.optimizer = make_optimizer(config, 10)
        self.optimizer.build(self.trainable_variables)

    def compute_loss(self, inputs, training):
        return tf.reduce_sum(tf.gather(self.rows, inputs["ids"])) * inputs["factor"]


def steps(precision, factor, count=2):
    model = Table(precision)
    for _ in range(count):
        descend(model, {"ids": tf.constant([1, 4, 4]), "factor": tf.constant(factor)})
    return model


def test_scaled_gradients_give_the_same_step():
    plain, scaled = steps("float32", 0.5), steps("mixed_float16", 0.5)
    np.testing.assert_allclose(scaled.rows, plain.rows, rtol=1e-5)
    assert (plain.rows.numpy()[[0, 2, 3, 5]] == 1.0).all()


def test_gradients_that_overflow_are_no_step_and_lower_the_scale():
    before = float(Table("mixed_float16").optimizer.loss_scale)
    model = steps("mixed_float16", np.float32(1e36), count=1)
    assert (model.rows.numpy() == 1.0).all()
    assert float(model.optimizer.loss_scale) == before / 2
