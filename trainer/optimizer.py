"""Adam that touches only the rows of a step in large embedding tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from trainer.config import TrainerConfig

#: Where the cosine decay ends, as a share of the first rate.
_FINAL_RATE_SHARE = 0.05


class LazyAdam(tf_keras.optimizers.Adam):
    """Adam whose sparse updates cost what the rows of a step cost, not what the table costs.

    Keras' Adam decays both moments of every row in every step and moves every row by them.
    Here a row is read, updated and written when a gradient reaches it. The moments decay by
    `beta ** steps` for the steps since the row's last update, so they are those of the dense
    rule and the usual bias correction holds. Only the small moves that the dense rule makes
    between two gradients of a row are left out, as in TensorFlow Addons' LazyAdam
    (https://www.tensorflow.org/addons/api_docs/python/tfa/optimizers/LazyAdam), which however
    does not count the skipped steps.
    """

    def __init__(
        self, learning_rate: Any = 1e-3, *, min_rows: int = 0, name: str = "LazyAdam", **kwargs: Any
    ) -> None:
        """Sets the rule up.

        Args:
          learning_rate: value or schedule.
          min_rows: variables with fewer rows follow the dense rule, which is as fast there.
          name: of the optimizer.
          **kwargs: see `tf_keras.optimizers.Adam`.

        Raises:
          ValueError: `amsgrad` is set, which needs every row in every step.
        """
        if kwargs.get("amsgrad"):
            raise ValueError("LazyAdam has no amsgrad: it would need every row in every step")
        super().__init__(learning_rate, name=name, **kwargs)
        self.min_rows = min_rows

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Makes the moments, and per row of a large table the step of its last update."""
        built = getattr(self, "_built", False)
        super().build(var_list)
        if built:
            return
        # Rank 1 and `min_rows` decide alone: whether a gradient is sparse shows only later.
        self._last_steps = [
            self.add_variable((var.shape[0],), tf.int64, name=f"last_step_{index}")
            if self._is_table(var)
            else None
            for index, var in enumerate(var_list)
        ]

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """Applies one gradient; the indices of a sparse one are distinct (Keras sums them)."""
        index = self._index_dict[self._var_key(variable)]
        last_steps = self._last_steps[index]
        if last_steps is None or not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        rows, values = gradient.indices, gradient.values
        step = self.iterations + 1
        skipped = tf.cast(step - tf.gather(last_steps, rows), values.dtype)[:, tf.newaxis]
        beta_1 = tf.cast(self.beta_1, values.dtype)
        beta_2 = tf.cast(self.beta_2, values.dtype)
        first, second = self._momentums[index], self._velocities[index]
        m = tf.gather(first, rows) * beta_1**skipped + values * (1 - beta_1)
        v = tf.gather(second, rows) * beta_2**skipped + tf.square(values) * (1 - beta_2)
        power = tf.cast(step, values.dtype)
        alpha = (
            tf.cast(self.learning_rate, values.dtype)
            * tf.sqrt(1 - beta_2**power)
            / (1 - beta_1**power)
        )
        first.scatter_update(tf.IndexedSlices(m, rows))
        second.scatter_update(tf.IndexedSlices(v, rows))
        variable.scatter_sub(tf.IndexedSlices(alpha * m / (tf.sqrt(v) + self.epsilon), rows))
        last_steps.scatter_update(tf.IndexedSlices(tf.fill(tf.shape(rows), step), rows))

    def _is_table(self, variable: tf.Variable) -> bool:
        return variable.shape.rank == 2 and variable.shape[0] >= self.min_rows

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal optimizer."""
        return {**super().get_config(), "min_rows": self.min_rows}


def make_optimizer(config: TrainerConfig, epoch_steps: int) -> tf_keras.optimizers.Optimizer:
    """Returns Adam with a cosine decay over all epochs, and loss scaling for float16.

    Args:
      config: learning rate, epochs, precision and from which size on tables are updated by row.
      epoch_steps: batches per epoch.
    """
    rate = tf_keras.optimizers.schedules.CosineDecay(
        config.learning_rate,
        decay_steps=epoch_steps * config.epochs,
        alpha=_FINAL_RATE_SHARE,
    )
    # Compiled by XLA, as Keras does where there is a GPU, an update would be compiled anew for
    # every number of touched rows.
    optimizer = LazyAdam(rate, min_rows=config.lazy_update_min_rows, jit_compile=False)
    if config.precision == "mixed_float16":
        return tf_keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def descend(model: Any, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Computes the loss of a batch and applies its gradients, scaled where float16 needs it.

    Args:
      model: compiled, with `compute_loss`.
      inputs: transformed features of a batch.

    Returns:
      [] float32 loss.
    """
    optimizer = model.optimizer
    scaled = isinstance(optimizer, tf_keras.mixed_precision.LossScaleOptimizer)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(inputs, training=True)
        goal = optimizer.get_scaled_loss(loss) if scaled else loss
    gradients = tape.gradient(goal, model.trainable_variables)
    if scaled:
        gradients = optimizer.get_unscaled_gradients(gradients)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    return loss
