"""Draws items from groups, by weight, among those that exist at a moment."""

from __future__ import annotations

import numpy as np


class Pools:
    """Groups of items (an item may be in several), drawn from in one vectorised step.

    Members of a group are sorted by creation time, so the ones that exist at a
    moment are a prefix, and a weighted draw is one search in a running sum.
    """

    def __init__(
        self, groups: np.ndarray, items: np.ndarray, created: np.ndarray, weights: np.ndarray
    ) -> None:
        """Builds the pools.

        Args:
          groups: int64 `[members]` group of each member.
          items: int64 `[members]` item of each member.
          created: int64 `[members]` seconds since 1970 when the member appears.
          weights: float64 `[members]` positive.
        """
        order = np.lexsort((created, groups))
        self._items = items[order]
        self._first = int(created.min(initial=0))
        self._width = int(created.max(initial=0)) - self._first + 2
        self._keys = groups[order] * self._width + (created[order] - self._first)
        self._sums = np.concatenate([[0.0], np.cumsum(weights[order])])

    def draw(self, group: np.ndarray, moment: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Returns int64 `[draws]` items created before the moment; -1 where there is none.

        Args:
          group: int64 `[draws]`.
          moment: int64 `[draws]` seconds since 1970.
          uniform: float64 `[draws]` in [0, 1).
        """
        age = np.clip(moment - self._first, 0, self._width - 1)
        start = np.searchsorted(self._keys, group * self._width)
        stop = np.searchsorted(self._keys, group * self._width + age)
        low, high = self._sums[start], self._sums[stop]
        found = np.searchsorted(self._sums, low + uniform * (high - low), side="right") - 1
        if not len(self._items):  # of a world with a single item: no pool has one to spare
            return np.full(len(start), -1)
        found = np.clip(found, start, np.maximum(stop - 1, start))
        return np.where(stop > start, self._items[np.minimum(found, len(self._items) - 1)], -1)
