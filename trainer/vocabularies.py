"""The vocabularies that Transform wrote, as the model needs them."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from core.errors import TrainingError
from core.feature_config import FeaturesConfig
from trainer import preprocessing
from trainer.config import TransformConfig
from trainer.feature_tables import FeatureColumns, feature_columns

_LOG = logging.getLogger("tessera")


@dataclass(frozen=True)
class Vocabularies:
    """Tokens by index; index 0 is padding, tokens start at 1, unknown buckets follow.

    Attributes:
      items, topics, actions: tokens in vocabulary order.
      item_counts: float64 `[len(items)]`, training targets per item plus 1 for the corpus.
      item_oov_buckets, topic_oov_buckets: hash buckets for unknown tokens.
      item_trained, item_own_id: bool `[len(items)]`, items that are the target of a training
        example, and of enough of them to have an id vector; None where that is not known, which
        counts as all of them.
      features: the features of items and users.
    """

    items: list[bytes]
    topics: list[bytes]
    actions: list[bytes]
    item_counts: np.ndarray
    item_oov_buckets: int
    topic_oov_buckets: int
    item_trained: np.ndarray | None = None
    item_own_id: np.ndarray | None = None
    features: FeatureColumns = field(default_factory=dict)

    @property
    def has_features(self) -> bool:
        """Whether there are features of items or users."""
        return any(self.features.values())

    def with_catalogue(self, item_ids: np.ndarray, min_targets: int = 1) -> Vocabularies:
        """Returns the same vocabularies, knowing which items are targets of the training.

        The counts hold every item of the catalogue once; what is left are targets.

        Args:
          item_ids: `[catalogue]` int64 item indices of the corpus split.
          min_targets: of as many training examples an item with an id vector is the target.
        """
        known = item_ids[(item_ids >= 1) & (item_ids <= len(self.items))] - 1
        listed = np.bincount(known, minlength=len(self.items))
        targets = self.item_counts - listed
        own_id = targets > min_targets - 0.5
        if min_targets > 1 and not own_id.any():
            _LOG.warning(
                "no item is the target of model.item_min_targets (%d) training examples: "
                "every item with a target keeps a vector of its own",
                min_targets,
            )
            own_id = targets > 0.5
        return dataclasses.replace(self, item_trained=targets > 0.5, item_own_id=own_id)

    def with_targets(self, item_ids: np.ndarray) -> Vocabularies:
        """Returns the same vocabularies with further training targets counted.

        Args:
          item_ids: `[targets]` int64 item indices; unknown ones are left out.
        """
        known = item_ids[(item_ids >= 1) & (item_ids <= len(self.items))] - 1
        further = np.bincount(known, minlength=len(self.items))
        return dataclasses.replace(self, item_counts=self.item_counts + further)

    def trained_rows(self) -> np.ndarray:
        """Returns int64 `[trained]`, the indices of the items that training has targets for."""
        if self.item_trained is None or not self.item_trained.any():
            return np.arange(1, 1 + len(self.items))
        return 1 + np.flatnonzero(self.item_trained)

    def id_rows(self) -> np.ndarray:
        """Returns int64 `[item_rows]`, the row of the id table that stands for each index.

        An id row that hardly a target trains would only be pushed away from every user, so such
        items share the rows of unknown ids: topics and features are all that is known of them.
        """
        rows = np.arange(self.item_rows, dtype=np.int64)
        if self.item_own_id is not None and self.item_own_id.any():
            without = 1 + np.flatnonzero(~self.item_own_id)
            rows[without] = 1 + len(self.items) + without % self.item_oov_buckets
        return rows

    @property
    def item_rows(self) -> int:
        """Rows of a table over items: padding, tokens, unknown buckets."""
        return 1 + len(self.items) + self.item_oov_buckets

    @property
    def topic_rows(self) -> int:
        """Rows of a table over topics: padding, tokens, unknown buckets."""
        return 1 + len(self.topics) + self.topic_oov_buckets

    @property
    def action_rows(self) -> int:
        """Rows of a table over actions: padding, tokens, the unknown bucket."""
        return 1 + len(self.actions) + preprocessing.ACTION_OOV_BUCKETS

    def item_probabilities(self) -> np.ndarray:
        """Returns float32 `[item_rows]`, the share of each item among the targets.

        Padding and unknown rows get the smallest share of any item.
        """
        counts = np.full(self.item_rows, max(self.item_counts.min(initial=1.0), 1e-12))
        counts[1 : 1 + len(self.items)] = self.item_counts
        return (counts / max(self.item_counts.sum(), 1.0)).astype(np.float32)

    def missing_items(self, share: float) -> np.ndarray | None:
        """Returns int64 `[item_rows]`, the item index that stands for each one in histories.

        A fixed draw of `share` of the known items becomes unknown items; None: each is itself.
        """
        if share == 0.0:
            return None
        rows = np.arange(self.item_rows, dtype=np.int64)
        known = len(self.items)
        drawn = 1 + np.flatnonzero(np.random.default_rng(0).random(known) < share)
        rows[drawn] = 1 + known + drawn % self.item_oov_buckets
        return rows

    def action_mask(self, patterns: tuple[str, ...]) -> np.ndarray:
        """Returns bool `[action_rows]`, True where an action matches a shell pattern."""
        mask = np.zeros(self.action_rows, bool)
        for index, token in enumerate(self.actions, start=1):
            name = token.decode("utf-8", "replace")
            mask[index] = any(fnmatchcase(name, pattern) for pattern in patterns)
        return mask


def load_vocabularies(
    transform_output: Any, config: TransformConfig, further: FeaturesConfig | None = None
) -> Vocabularies:
    """Reads the vocabulary files of a transform graph.

    Args:
      transform_output: a `tft.TFTransformOutput`.
      config: the configuration that the graph was built with.
      further: the features that it was built with; None for none.

    Raises:
      TrainingError: the two item vocabularies do not hold the same tokens.
    """
    items = transform_output.vocabulary_by_name(preprocessing.ITEM_VOCABULARY)
    counts = {}
    for line in transform_output.vocabulary_by_name(preprocessing.ITEM_FREQUENCY_VOCABULARY):
        count, _, token = line.partition(b" ")
        counts[token] = float(count)
    if counts.keys() != set(items):
        raise TrainingError(
            f"vocabulary {preprocessing.ITEM_VOCABULARY!r} holds {len(items)} items, "
            f"{preprocessing.ITEM_FREQUENCY_VOCABULARY!r} holds {len(counts)}: run Transform again"
        )
    return Vocabularies(
        items=items,
        topics=transform_output.vocabulary_by_name(preprocessing.TOPIC_VOCABULARY),
        actions=transform_output.vocabulary_by_name(preprocessing.ACTION_VOCABULARY),
        item_counts=np.array([counts[token] for token in items]),
        item_oov_buckets=config.item_oov_buckets,
        topic_oov_buckets=config.topic_oov_buckets,
        features=feature_columns(transform_output, further or FeaturesConfig()),
    )
