"""Randomness of a training step, from one seed that names the run and the step.

Everything random in the model is stateless: `seed` is an int32 `[2]` tensor
`(run seed, step)`, and None means inference. A resumed training therefore draws
what the uninterrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from trainer import features

#: One number per use, so that no two uses draw the same values.
ITEM_ID_DROPOUT = 1_000
HISTORY_DROPOUT = 2_000
INPUT_DROPOUT = 3_000
NEGATIVES = 4_000
CONDITION = 5_000
ROUTING = 6_000
CENTROIDS = 7_000
GUMBEL = 8_000
#: Above every use, so that no replica's draws are another use's of another replica.
_REPLICA_STRIDE = 100_000


def salted(seed: tf.Tensor, salt: int) -> tf.Tensor:
    """Returns another seed for one use of randomness within the same step.

    Args:
      seed: [2] int32, (run seed, step).
      salt: a constant that names the use.
    """
    return seed + tf.constant([salt, 0], seed.dtype)


def of_replica(seed: tf.Tensor, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns the seed of this replica: no two slices of a batch share their draws.

    Args:
      seed: [2] int32, (run seed, step).
      inputs: transformed features; a whole batch keeps the seed.
    """
    if features.BATCH_TARGETS not in inputs:
        return seed
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return seed + tf.stack([_REPLICA_STRIDE * tf.cast(replica, seed.dtype), 0])


def dropout(values: tf.Tensor, rate: float, seed: tf.Tensor | None, salt: int) -> tf.Tensor:
    """Zeroes a share of the values and scales the rest; the identity at inference.

    Args:
      values: [...] float32.
      rate: share of zeroed values in [0, 1).
      seed: [2] int32, or None at inference.
      salt: a constant that names the use.
    """
    if seed is None or rate == 0.0:
        return values
    keep = tf.random.stateless_uniform(tf.shape(values), salted(seed, salt)) >= rate
    return tf.where(keep, values / (1.0 - rate), tf.zeros_like(values))
