"""Offline clusters of the catalogue, for the PinnerSage-like comparator `pfs`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def cluster_items(
    examples: Mapping[str, np.ndarray], *, item_rows: int, clusters: int, method: str, seed: int
) -> np.ndarray:
    """Returns the offline cluster of every item index, int32 `[item_rows]`, -1 for none."""
    raise NotImplementedError
