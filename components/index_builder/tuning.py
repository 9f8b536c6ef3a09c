"""Choice of ScaNN's parameters: the cheapest that reach the wanted recall."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from core.errors import IndexQualityError
from core.progress import track
from trainer.retrieval.partitioned import PartitionedSearch
from trainer.retrieval.search import ExactSearch, ScannParameters, ScannSearch

#: Neighbours on which recall is measured.
RECALL_AT = 100
#: ScaNN's hashing needs 16 points; far below this size exact search is faster anyway.
SCANN_MIN_ITEMS = 64
_LEAF_SHARES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
_REORDER = (200, 500, 1000, 2000)
_PROBED = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256)
_QUERY_BATCH = 256


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """Returns the share of true neighbours found; rows -1 never count.

    Args:
      found: `[queries, k]` int item rows.
      truth: `[queries, k]` int item rows.
    """
    hits = sum(len(np.intersect1d(a[a >= 0], b)) for a, b in zip(found, truth, strict=True))
    return hits / max(1, int((truth >= 0).sum()))


def neighbours(search: Any, queries: np.ndarray, k: int) -> np.ndarray:
    """Returns `[queries, k]` int32 rows of a searcher."""
    parts = [
        search.search(tf.constant(queries[i : i + _QUERY_BATCH]), tf.constant(k))[0].numpy()
        for i in range(0, len(queries), _QUERY_BATCH)
    ]
    return np.concatenate(parts)


def estimated_cost(items: int, dim: int, parameters: ScannParameters) -> float:
    """Returns multiply-adds per query: centroids, hashed scan of the leaves, reordering.

    Used instead of a stopwatch so that the choice is the same on every run;
    the hashed scan costs about an eighth of exact products.
    """
    scanned = items * parameters.leaves_to_search / parameters.num_leaves
    reordered = min(parameters.reorder, scanned)
    return dim * (parameters.num_leaves + scanned / 8 + reordered)


def search_grid(
    items: int, dim: int, num_leaves: int, depth: int = RECALL_AT
) -> list[ScannParameters]:
    """Returns search parameters to try for one tree, cheapest first.

    Args:
      items: number of vectors.
      dim: their dimension.
      num_leaves: leaves of the tree.
      depth: neighbours that requests ask for. Fewer are never reordered: ScaNN would
        reorder more for deep requests, and answer others in the same batch differently.
    """
    leaves = sorted({max(1, round(num_leaves * share)) for share in _LEAF_SHARES} | {num_leaves})
    reorder = sorted({min(max(size, depth), items) for size in _REORDER})
    grid = [ScannParameters(num_leaves, *pair) for pair in itertools.product(leaves, reorder)]
    return sorted(grid, key=lambda parameters: estimated_cost(items, dim, parameters))


def tree_sizes(items: int) -> Iterator[int]:
    """Yields numbers of leaves: about the square root, then fewer, fuller leaves."""
    root = max(1, round(items**0.5))
    for num_leaves in (root, max(1, root // 4)):
        yield min(num_leaves, items)


def tune_scann(
    embeddings: np.ndarray, queries: np.ndarray, target: float, depth: int = RECALL_AT
) -> tuple[ScannSearch, ScannParameters, float, list[dict[str, Any]]]:
    """Builds ScaNN indexes until one reaches the recall.

    Args:
      embeddings: `[items, dim]` float32.
      queries: `[queries, dim]` float32.
      target: wanted share of the 100 exact neighbours.
      depth: neighbours that requests ask for, see `search_grid`.

    Returns:
      `(search, parameters, recall, tried)`; `tried` has one record per attempt.

    Raises:
      IndexQualityError: no parameters reach the target; names the best.
    """
    items, dim = embeddings.shape
    k = min(RECALL_AT, items)
    truth = neighbours(ExactSearch(tf.Variable(embeddings, trainable=False)), queries, k)
    tried: list[dict[str, Any]] = []
    with track("tuning ScaNN") as bar:
        for num_leaves in dict.fromkeys(tree_sizes(items)):
            grid = search_grid(items, dim, num_leaves, depth)
            started = time.perf_counter()
            built = ScannSearch.build(embeddings, grid[0])
            build_s = time.perf_counter() - started
            for parameters in grid:
                search = built.with_parameters(parameters.leaves_to_search, parameters.reorder)
                started = time.perf_counter()
                reached = recall(neighbours(search, queries, k), truth)
                bar.advance(recall=round(reached, 4))
                tried.append(
                    {
                        **parameters._asdict(),
                        "recall": reached,
                        "ms_per_query": 1000 * (time.perf_counter() - started) / len(queries),
                        "build_s": build_s,
                    }
                )
                if reached >= target:
                    return search, parameters, reached, tried
    best = max(tried, key=lambda attempt: attempt["recall"])
    raise IndexQualityError(
        f"ScaNN's best recall@{k} against exact search is {best['recall']:.4f} "
        f"(num_leaves={best['num_leaves']}, leaves_to_search={best['leaves_to_search']}, "
        f"reorder={best['reorder']}), below index.recall_target={target}: "
        "lower the target or set index.kind to exact"
    )


def tune_partitions(
    embeddings: np.ndarray, queries: np.ndarray, target: float
) -> tuple[PartitionedSearch, float]:
    """Partitions the catalogue and finds the fewest parts that reach the recall.

    Args:
      embeddings: `[items, dim]` float32.
      queries: `[queries, dim]` float32.
      target: wanted share of the 100 exact neighbours; all parts together reach any.

    Returns:
      The search and its recall.
    """
    items = tf.Variable(embeddings, trainable=False)
    k = min(RECALL_AT, len(embeddings))
    truth = neighbours(ExactSearch(items), queries, k)
    parts = next(tree_sizes(len(embeddings)))
    built = PartitionedSearch.build(items, parts, 1)
    for probed in [*(size for size in _PROBED if size < parts), parts]:
        search = built.with_probed(probed)
        reached = recall(neighbours(search, queries, k), truth)
        if reached >= target:
            break
    return search, reached
