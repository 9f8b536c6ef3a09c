"""Interest extractors, one file each; a new one is a class and a line here."""

from __future__ import annotations

import numpy as np

from trainer.config import ModelConfig
from trainer.interests.base import History, InterestExtractor, Interests
from trainer.interests.dcm import DifferentiableClustering
from trainer.interests.interest_token import InterestTokens
from trainer.interests.last_k import LastItems
from trainer.interests.mind import DynamicRouting
from trainer.interests.pfs import PooledSequences
from trainer.interests.self_attention import SelfAttention
from trainer.interests.single import SingleInterest

#: Extractor of the implicit slots by the first part of `model.name`.
EXTRACTORS: dict[str, type[InterestExtractor]] = {
    "two_tower": SingleInterest,
    "self_attention": SelfAttention,
    "interest_token": InterestTokens,
    "mind": DynamicRouting,
    "dcm": DifferentiableClustering,
    "last_k": LastItems,
    "pfs": PooledSequences,
}


def make_extractor(
    config: ModelConfig, item_clusters: np.ndarray | None = None
) -> InterestExtractor | None:
    """Returns the extractor of a model, None when it has no implicit slots (`cr`).

    Args:
      config: the model.
      item_clusters: [item rows] int32 offline cluster of each item, for `pfs` alone.

    Raises:
      TrainingError: `pfs` without clusters, or with clusters out of range.
    """
    extractor = EXTRACTORS.get(config.name.removesuffix("_cr"))
    if extractor is None:
        return None
    if extractor is PooledSequences:
        return PooledSequences(config, item_clusters)
    return extractor(config)


__all__ = ["EXTRACTORS", "History", "InterestExtractor", "Interests", "make_extractor"]
