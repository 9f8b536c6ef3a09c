"""Paired bootstrap over users: a user's examples are drawn together or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
SEED = 1
_CHUNK = 100


class UserResamples:
    """Draws users with replacement once; every comparison uses the same draws.

    Examples of one user are not independent, so an interval over examples would
    be too narrow (cluster bootstrap: Cameron, Gelbach and Miller, 2008).
    """

    def __init__(self, users: np.ndarray, seed: int = SEED, resamples: int = RESAMPLES) -> None:
        """Draws.

        Args:
          users: `[examples]` int, number of each example's user, 0 to users - 1.
          seed: of the draws.
          resamples: how often the users are drawn.
        """
        self._users = users
        self._count = int(users.max()) + 1 if len(users) else 0
        generator = np.random.default_rng(seed)
        #: `[resamples, users]`, how often each user was drawn. A byte is enough: the
        #: chance that one of many users is drawn 256 times is nil.
        self._weights = np.zeros((resamples, self._count), np.uint8)
        for row in self._weights:
            drawn = generator.integers(0, self._count, self._count) if self._count else users
            row[:] = np.minimum(np.bincount(drawn, minlength=self._count), 255)

    def compare(
        self,
        candidate: Mapping[str, np.ndarray],
        baseline: Mapping[str, np.ndarray],
        masks: Mapping[Any, np.ndarray],
        level: float = LEVEL,
    ) -> dict[Any, dict[str, dict[str, float | int]]]:
        """Compares two rows on the examples that both answered.

        Args:
          candidate: metric to `[examples]` float, NaN where there is no value.
          baseline: the same of the other row.
          masks: any key to `[examples]` bool; each key is compared apart.
          level: of the intervals, 0 to 1.

        Returns:
          By key, by metric: `difference` (mean of candidate - baseline over the examples),
          `low`, `high`, `level`, `users` (with such an example). What nobody has is left out.
        """
        cells, sums, counts = [], [], []
        for metric in candidate.keys() & baseline.keys():
            difference = np.asarray(candidate[metric] - baseline[metric], np.float64)
            there = np.isfinite(difference)
            for key, mask in masks.items():
                chosen = there & mask
                if chosen.any():
                    owner = self._users[chosen]
                    cells.append((key, metric))
                    sums.append(np.bincount(owner, difference[chosen], self._count))
                    counts.append(np.bincount(owner, minlength=self._count).astype(np.float64))
        if not cells:
            return {}
        total, size = np.stack(sums, axis=1), np.stack(counts, axis=1)  # [users, cells]
        low, high = self._interval(total, size, level)
        found: dict[Any, dict[str, dict[str, float | int]]] = {}
        for cell, (key, metric) in enumerate(cells):
            found.setdefault(key, {})[metric] = {
                "difference": float(total[:, cell].sum() / size[:, cell].sum()),
                "low": float(low[cell]),
                "high": float(high[cell]),
                "level": level,
                "users": int((size[:, cell] > 0).sum()),
            }
        return {key: dict(sorted(found[key].items())) for key in masks if key in found}

    def _interval(
        self, total: np.ndarray, size: np.ndarray, level: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the interval's ends, `[cells]` each, of sums and sizes `[users, cells]`."""
        means = []
        for start in range(0, len(self._weights), _CHUNK):
            weights = self._weights[start : start + _CHUNK].astype(np.float64)
            drawn = weights @ size
            # A resample without any user of a small slice says nothing about it.
            means.append(np.where(drawn > 0, weights @ total / np.maximum(drawn, 1.0), np.nan))
        tail = (1.0 - level) / 2.0
        stacked = np.concatenate(means)
        empty = ~np.isfinite(stacked).any(axis=0)
        stacked[:, empty] = total[:, empty].sum(0) / size[:, empty].sum(0)
        low, high = np.nanquantile(stacked, [tail, 1.0 - tail], axis=0)
        return low, high
