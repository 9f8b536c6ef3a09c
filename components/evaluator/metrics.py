"""Ranking metrics of one result list per example."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

#: Results whose topics are looked at.
TOPICS_AT = 50


def target_ranks(lists: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the 1-based position of each target in its list, 0 when it is not there.

    Args:
      lists: `[examples, results]` int item rows; pads and unknown items are below 0.
      targets: `[examples]` int item rows; below 0 (not in the catalogue) is never found.
    """
    if not lists.size:
        return np.zeros(len(lists), np.int64)
    same = (lists == targets[:, None]) & (targets >= 0)[:, None]
    return np.where(same.any(axis=1), same.argmax(axis=1) + 1, 0)


def per_example(ranks: np.ndarray, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Returns each example's recall@k, ndcg@k and reciprocal rank (one target each).

    Args:
      ranks: `[examples]` from `target_ranks`.
      ks: cut-offs.

    Returns:
      `[examples]` float64 by metric name; `mrr` looks as deep as the largest k.
    """
    found = ranks > 0
    safe = np.maximum(ranks, 1)
    values: dict[str, np.ndarray] = {}
    for k in ks:
        inside = found & (ranks <= k)
        values[f"recall@{k}"] = inside.astype(np.float64)
        values[f"ndcg@{k}"] = np.where(inside, 1.0 / np.log2(1.0 + safe), 0.0)
    values["mrr"] = np.where(found & (ranks <= max(ks)), 1.0 / safe, 0.0)
    return values


def coverage(lists: np.ndarray, items: int, k: int) -> float:
    """Returns the share of the catalogue that occurs in some first k results."""
    top = lists[:, :k]
    return float(len(np.unique(top[top >= 0]))) / max(1, items)


def topic_weights(lists: np.ndarray, topics: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """Returns how much of each list's first k results falls on each topic.

    An item counts 1, divided equally among its topics; items without topics
    count nothing.

    Args:
      lists: `[examples, results]` int item rows, below 0 ignored.
      topics: `[items, topics]` CSR of ones.
      k: results looked at.

    Returns:
      `[examples, topics]` CSR.
    """
    top = lists[:, :k]
    example, place = np.nonzero(top >= 0)
    rows = top[example, place]
    picked = sparse.csr_matrix(
        (np.ones(len(rows)), (example, rows)), shape=(len(lists), topics.shape[0])
    )
    carried = np.maximum(np.asarray(topics.sum(axis=1)).ravel(), 1.0)
    return (picked @ sparse.diags(1.0 / carried) @ topics).tocsr()


def topic_entropy(lists: np.ndarray, topics: sparse.csr_matrix, k: int = TOPICS_AT) -> float:
    """Returns the mean entropy (nats) of the topics of the first k results.

    Lists whose items carry no topic count 0.
    """
    weights = topic_weights(lists, topics, k)
    totals = np.asarray(weights.sum(axis=1)).ravel()
    owner = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    share = weights.data / totals[owner]
    entropy = np.bincount(owner, -share * np.log(share), minlength=weights.shape[0])
    return float(entropy.mean()) if len(entropy) else 0.0


def distinct_topics(lists: np.ndarray, topics: sparse.csr_matrix, k: int = TOPICS_AT) -> float:
    """Returns the mean number of different topics among the first k results."""
    counts = np.diff(topic_weights(lists, topics, k).indptr)
    return float(counts.mean()) if len(counts) else 0.0


def summarise(
    lists: np.ndarray, targets: np.ndarray, topics: sparse.csr_matrix, ks: Sequence[int]
) -> dict[str, float]:
    """Returns every metric of some result lists.

    `coverage` is that of the largest k, `distinct_topics` looks at 50 results.
    Without examples the averages are NaN, which no blessing passes.
    """
    values = per_example(target_ranks(lists, targets), ks)
    summary = {name: float(v.mean()) if len(v) else float("nan") for name, v in values.items()}
    for k in ks:
        summary[f"coverage@{k}"] = coverage(lists, topics.shape[0], k)
    summary["coverage"] = summary[f"coverage@{max(ks)}"]
    summary[f"topic_entropy@{TOPICS_AT}"] = topic_entropy(lists, topics)
    summary["distinct_topics"] = distinct_topics(lists, topics)
    return summary


def recall_curve(ranks: np.ndarray, depth: int) -> dict[str, list[float]]:
    """Returns recall at 1, 2, 5, 10, 20, 50, ... up to `depth`."""
    steps = [base * 10**power for power in range(7) for base in (1, 2, 5)]
    ks = sorted({k for k in steps if k < depth} | {depth})
    recalls = [float(((ranks > 0) & (ranks <= k)).mean()) if len(ranks) else 0.0 for k in ks]
    return {"k": [float(k) for k in ks], "recall": recalls}


def topic_curve(lists: np.ndarray, topics: sparse.csr_matrix, depth: int) -> dict[str, list[float]]:
    """Returns the mean number of different topics against the number of results."""
    ks = sorted({k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500) if k < depth} | {depth})
    return {
        "k": [float(k) for k in ks],
        "distinct_topics": [distinct_topics(lists, topics, k) for k in ks],
    }
