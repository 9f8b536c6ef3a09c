"""Paired comparison of two retrievers on the same examples."""

from __future__ import annotations

import numpy as np

_RESAMPLES = 1000
_CHUNK = 50


def paired_bootstrap(
    candidate: np.ndarray, baseline: np.ndarray, seed: int, level: float = 0.95
) -> dict[str, float]:
    """Returns the mean difference with a bootstrap interval.

    Examples are resampled in pairs, so that what both find hard cancels out.

    Args:
      candidate: `[examples]` float, a per-example metric.
      baseline: the same of the other retriever.
      seed: of the resampling.
      level: of the interval, 0 to 1.

    Returns:
      `difference` (candidate - baseline), `low`, `high`, `level`, `n`.
    """
    difference = np.asarray(candidate, np.float64) - np.asarray(baseline, np.float64)
    generator = np.random.default_rng(seed)
    means = np.concatenate(
        [
            difference[generator.integers(0, len(difference), (_CHUNK, len(difference)))].mean(1)
            for _ in range(_RESAMPLES // _CHUNK)
        ]
    )
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return {
        "difference": float(difference.mean()),
        "low": float(low),
        "high": float(high),
        "level": level,
        "n": len(difference),
    }
