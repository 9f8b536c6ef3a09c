"""Full ranking of a catalogue in NumPy, the same for every library.

Imports nothing but NumPy: it runs in our environment and in the peers'.
"""

from __future__ import annotations

import numpy as np

KS = (10, 50, 100)
_USERS_PER_BLOCK = 256


def target_ranks(
    users: np.ndarray,
    valid: np.ndarray,
    items: np.ndarray,
    history: np.ndarray,
    target: np.ndarray,
) -> np.ndarray:
    """Ranks each user's target among all items but those of the history.

    An item's score is that of its best valid embedding of the user. Of the items with the
    target's own score half stand before it, so that equal scores win nothing.

    Args:
      users: `[users, slots, dim]` float32.
      valid: `[users, slots]` bool, at least one True per row.
      items: `[1 + items, dim]` float32; row 0 stands for no item.
      history: `[users, length]` int, item indices, 0 for none.
      target: `[users]` int, item indices.

    Returns:
      `[users]` int64, 0 for the first place.
    """
    parts = []
    for start in range(0, len(users), _USERS_PER_BLOCK):
        block = slice(start, start + _USERS_PER_BLOCK)
        row = np.arange(len(target[block]))
        scores = users[block] @ items.T  # [users, slots, items]
        scores[~valid[block]] = -np.inf
        best = scores.max(axis=1)
        own = best[row, target[block]][:, None]
        np.put_along_axis(best, np.asarray(history[block], np.int64), -np.inf, axis=1)
        best[:, 0] = -np.inf
        best[row, target[block]] = -np.inf
        ahead = (best > own).sum(axis=1) + (best == own).sum(axis=1) // 2
        # A score that is not a number is never found.
        parts.append(np.where(np.isfinite(own[:, 0]), ahead, len(items)))
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def accuracy(ranks: np.ndarray) -> dict[str, float]:
    """Returns `hr@k` for each k and `ndcg@10` of 0-based ranks."""
    gains = np.where(ranks < 10, 1.0 / np.log2(ranks + 2.0), 0.0)
    hits = {f"hr@{k}": float((ranks < k).mean()) for k in KS}
    return {**hits, "ndcg@10": float(gains.mean())}
