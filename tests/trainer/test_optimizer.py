"""Row-wise Adam beside Keras' dense one and a NumPy oracle."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import TrainerConfig
from trainer.optimizer import LazyAdam, make_optimizer

ROWS, DIM, RATE = 12, 3, 0.1


def slices(rows, random):
    values = random.normal(size=(len(rows), DIM)).astype(np.float32)
    return tf.IndexedSlices(tf.constant(values), tf.constant(rows, tf.int64), (ROWS, DIM))


def trained(optimizer, batches):
    table = tf.Variable(np.ones((ROWS, DIM), np.float32))
    optimizer.build([table])
    random = np.random.default_rng(3)
    for rows in batches:
        optimizer.apply_gradients([(slices(rows, random), table)])
    return table.numpy(), optimizer


def oracle(batches):
    """Dense moments in every step; weights move only in the rows of the step."""
    table, m, v = np.ones((ROWS, DIM)), np.zeros((ROWS, DIM)), np.zeros((ROWS, DIM))
    random = np.random.default_rng(3)
    for step, rows in enumerate(batches, start=1):
        gradient = np.zeros((ROWS, DIM))
        np.add.at(gradient, rows, random.normal(size=(len(rows), DIM)).astype(np.float32))
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        alpha = RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        touched = np.unique(rows)
        table[touched] -= alpha * m[touched] / (np.sqrt(v[touched]) + 1e-7)
    return table, m, v


batches_of_rows = st.lists(
    st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=8), min_size=1, max_size=6
)


@given(batches_of_rows)
@settings(deadline=None)
def test_moments_are_those_of_the_dense_rule_and_only_touched_rows_move(batches):
    table, optimizer = trained(LazyAdam(RATE), batches)
    expected, m, v = oracle(batches)
    np.testing.assert_allclose(table, expected, rtol=2e-4, atol=2e-5)
    last = batches[-1]
    np.testing.assert_allclose(optimizer._momentums[0].numpy()[last], m[last], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        optimizer._velocities[0].numpy()[last], v[last], rtol=1e-4, atol=1e-8
    )


def test_where_every_row_has_a_gradient_it_is_keras_adam():
    batches = [list(range(ROWS))] * 5
    lazy, _ = trained(LazyAdam(RATE), batches)
    dense, _ = trained(tf_keras.optimizers.Adam(RATE), batches)
    np.testing.assert_allclose(lazy, dense, rtol=1e-5)


def test_a_table_below_the_bound_follows_the_dense_rule():
    batches = [[0, 1], [2], [3, 4]]
    small, _ = trained(LazyAdam(RATE, min_rows=ROWS + 1), batches)
    dense, _ = trained(tf_keras.optimizers.Adam(RATE), batches)
    np.testing.assert_array_equal(small, dense)


def test_a_training_restored_from_a_checkpoint_goes_on_as_if_it_had_not_stopped(tmp_path):
    random = np.random.default_rng(5)
    batches = [random.integers(0, ROWS, 5).tolist() for _ in range(8)]
    gradients = [slices(rows, random) for rows in batches]

    def start():
        table, optimizer = tf.Variable(np.ones((ROWS, DIM), np.float32)), LazyAdam(RATE)
        optimizer.build([table])
        return table, optimizer, tf.train.Checkpoint(table=table, optimizer=optimizer)

    table, optimizer, _ = start()
    for gradient in gradients:
        optimizer.apply_gradients([(gradient, table)])
    first, first_optimizer, checkpoint = start()
    for gradient in gradients[:3]:
        first_optimizer.apply_gradients([(gradient, first)])
    path = checkpoint.save(str(tmp_path / "checkpoint"))
    second, second_optimizer, checkpoint = start()
    checkpoint.restore(path).assert_existing_objects_matched()
    for gradient in gradients[3:]:
        second_optimizer.apply_gradients([(gradient, second)])
    np.testing.assert_array_equal(second.numpy(), table.numpy())


def test_the_gradient_of_an_embedding_table_stays_sparse_all_the_way():
    """No operation of a step may have the size of the table."""
    rows = 50_000
    table, optimizer = tf.Variable(tf.ones((rows, DIM))), LazyAdam(RATE)
    optimizer.build([table])

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table, ids) ** 2)
        optimizer.apply_gradients([(tape.gradient(loss, table), table)])

    graph = step.get_concrete_function(tf.TensorSpec([7], tf.int64)).graph
    sized = [
        operation.name
        for operation in graph.get_operations()
        for output in operation.outputs
        if output.dtype != tf.resource and output.shape.rank and output.shape[0] == rows
    ]
    assert sized == []


def test_amsgrad_is_refused():
    with pytest.raises(ValueError, match="amsgrad"):
        LazyAdam(amsgrad=True)


def test_the_configuration_decides_from_which_size_on():
    optimizer = make_optimizer(TrainerConfig(lazy_update_min_rows=77, learning_rate=0.5), 10)
    assert isinstance(optimizer, LazyAdam) and optimizer.get_config()["min_rows"] == 77
    assert float(optimizer.learning_rate) == pytest.approx(0.5)
