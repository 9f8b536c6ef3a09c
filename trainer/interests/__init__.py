"""Interest extractors, one file each; a new one is a class and a line here."""

from __future__ import annotations

import numpy as np

from trainer.config import ModelConfig
from trainer.interests.base import History, InterestExtractor, Interests
from trainer.interests.dcm import DifferentiableClustering
from trainer.interests.single import SingleInterest

#: Extractor of the implicit slots by the first part of `model.name`.
EXTRACTORS: dict[str, type[InterestExtractor]] = {
    "two_tower": SingleInterest,
    "dcm": DifferentiableClustering,
}


def make_extractor(
    config: ModelConfig, item_clusters: np.ndarray | None = None
) -> InterestExtractor | None:
    """Returns the extractor of a model, None when it has no implicit slots (`cr`).

    Args:
      config: the model.
      item_clusters: [item rows] int32 offline cluster of each item, for `pfs` alone.
    """
    name = config.name.removesuffix("_cr")
    return EXTRACTORS[name](config) if name in EXTRACTORS else None


__all__ = ["EXTRACTORS", "History", "InterestExtractor", "Interests", "make_extractor"]
