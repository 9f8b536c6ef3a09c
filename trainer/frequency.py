"""How often an item is drawn as an in-batch negative: the Q of the logQ correction."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import tensorflow as tf

from trainer.config import TrainerConfig
from trainer.vocabularies import Vocabularies

#: Weight of a new gap in the moving mean; a mean over about the last 20 occurrences.
_LEARNING_RATE = 0.05


class ItemFrequency(Protocol):
    """Tells how often items are among the targets of a batch."""

    def expected_draws(self, ids: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Expected number of times that each item is among `draws` targets.

        Args:
          ids: [ids] int64 item indices.
          draws: [] int32, targets that are drawn.

        Returns:
          [ids] float32 >= 0.
        """
        ...

    def observe(self, ids: tf.Tensor, step: tf.Tensor) -> None:
        """Learns from the targets of a training step.

        Args:
          ids: [batch] int64 item indices.
          step: [] int64, number of this step.
        """
        ...


class CountedFrequency:
    """Shares of the items among all targets, counted before the training."""

    def __init__(self, item_probability: np.ndarray) -> None:
        """Takes the shares.

        Args:
          item_probability: [item rows] float32, share of each item among the targets.
        """
        self._probability = tf.constant(item_probability, tf.float32)

    def expected_draws(self, ids: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """See `ItemFrequency.expected_draws`."""
        return tf.gather(self._probability, ids) * tf.cast(draws, tf.float32)

    def observe(self, ids: tf.Tensor, step: tf.Tensor) -> None:
        """Nothing to learn: the counts are final."""


class StreamingFrequency(tf.Module):
    """Estimates item frequencies while training (Yi et al., RecSys 2019, algorithm 2).

    For every item: A, the step that last held it, and B, a moving mean of the gaps between
    its occurrences, `B <- (1 - a) B + a (t - A)`. An item that a batch holds twice has a
    gap of 0 the second time, so 1 / B is the expected number of occurrences in a batch.
    Items are indexed by their row, not hashed: two items never share an estimate.

    The state is made of variables, so that a checkpoint holds it.
    """

    def __init__(
        self, item_rows: int, batch_size: int, learning_rate: float = _LEARNING_RATE
    ) -> None:
        """Starts from equally frequent items.

        Args:
          item_rows: rows of the item tables.
          batch_size: targets per training step.
          learning_rate: a, weight of a new gap, in (0, 1].
        """
        super().__init__(name="streaming_frequency")
        self._batch_size = batch_size
        self._keep = 1.0 - learning_rate
        self.last_step = tf.Variable(
            np.zeros(item_rows, np.int64), trainable=False, name="frequency_last_step"
        )
        self.mean_gap = tf.Variable(
            np.full(item_rows, item_rows / batch_size, np.float32),
            trainable=False,
            name="frequency_mean_gap",
        )

    def expected_draws(self, ids: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """See `ItemFrequency.expected_draws`."""
        # A gap below this would mean more occurrences than a batch has room for.
        gap = tf.maximum(tf.gather(self.mean_gap, ids), 1.0 / self._batch_size)
        return tf.cast(draws, tf.float32) / self._batch_size / gap

    def observe(self, ids: tf.Tensor, step: tf.Tensor) -> None:
        """See `ItemFrequency.observe`; call it once per step, after `expected_draws`."""
        distinct, _, times = tf.unique_with_counts(ids)
        # Steps are counted from 1 here, so that the first one is a gap after "never" (0).
        now = tf.fill(tf.shape(distinct), step + 1)
        gap = tf.cast(now - tf.gather(self.last_step, distinct), tf.float32)
        before = tf.gather(self.mean_gap, distinct)
        # The first occurrence closes the gap; each further one in this batch is a gap of 0.
        after = self._keep * before + (1.0 - self._keep) * gap
        after *= tf.pow(self._keep, tf.cast(times - 1, tf.float32))
        # Not scatter_nd_update, which variables of several replicas do not have.
        self.mean_gap.scatter_update(tf.IndexedSlices(after, distinct))
        self.last_step.scatter_update(tf.IndexedSlices(now, distinct))


def item_frequency(config: TrainerConfig, vocabularies: Vocabularies) -> ItemFrequency | None:
    """Makes what `trainer.item_frequency` names; None where nothing is to be corrected.

    Args:
      config: negatives and their correction.
      vocabularies: item counts.
    """
    if not (config.logq_correction and config.in_batch_negatives):
        return None
    if config.item_frequency == "streaming":
        return StreamingFrequency(vocabularies.item_rows, config.batch_size)
    return CountedFrequency(vocabularies.item_probabilities())
