"""Offline clusters of the catalogue, for the PinnerSage-like comparator `pfs`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import sparse

# scikit-learn is imported where it is used: it loads slowly and one model alone needs it.
from trainer import features

#: Dimensions of the item embeddings.
_DIMENSIONS = 32
#: Ward's memory grows with the square of the points: 8,000 of them need 256 MB.
_WARD_MAX_POINTS = 8_000
_MICRO_CLUSTERS = 2_000
#: Above this many items K-means reads mini-batches.
_FULL_KMEANS_MAX_POINTS = 20_000


def cluster_items(
    examples: Mapping[str, np.ndarray], *, item_rows: int, clusters: int, method: str, seed: int
) -> np.ndarray:
    """Clusters the items by what they are engaged with together.

    Item embeddings are a truncated SVD of the co-occurrence counts of history items and
    targets, `log(1 + count) * idf`, scaled to length 1; users and topics play no part.
    Ward above 8,000 items merges 2,000 K-means micro-clusters instead of items (each counts
    as one point, whatever its size), so that its memory stays bounded.

    Args:
      examples: transformed training examples, int64 `[examples, width]` by transformed name.
      item_rows: rows of the item tables.
      clusters: number of clusters; fewer where there are fewer items.
      method: `kmeans` or `ward`.
      seed: decides the SVD and the first centres.

    Returns:
      int32 `[item_rows]`, the cluster of every item index; -1 for padding and for items
      that never occur beside another one.
    """
    counts = _co_occurrence(
        examples[features.transformed_name(features.HISTORY_ITEM_ID)],
        examples[features.transformed_name(features.ITEM_ID)][:, 0],
        item_rows,
    )
    seen = np.flatnonzero(counts.getnnz(axis=1))
    found = np.full(item_rows, -1, np.int32)
    if len(seen):
        embeddings = _embed(counts[seen][:, seen], seed)
        found[seen] = _cluster(embeddings, min(clusters, len(seen)), method, seed)
    return found


def _co_occurrence(history: np.ndarray, targets: np.ndarray, item_rows: int) -> sparse.csr_matrix:
    """Counts how often two different items are history item and target of one example.

    Args:
      history: [examples, length] int64, 0 for padding.
      targets: [examples] int64.
      item_rows: rows of the item tables.

    Returns:
      Symmetric float64 `[item_rows, item_rows]`. An item counts beside itself as often as
      beside its most frequent companion, so that two items that only know each other are
      alike.
    """
    beside = np.broadcast_to(targets[:, np.newaxis], history.shape)
    pairs = (history > 0) & (beside > 0) & (history != beside)
    rows, columns = history[pairs], beside[pairs]
    shape = (item_rows, item_rows)
    counts = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    counts = (counts + counts.T).tocsr()
    counts = (counts + sparse.diags(counts.max(axis=1).toarray()[:, 0])).tocsr()
    counts.eliminate_zeros()
    return counts


def _embed(counts: sparse.csr_matrix, seed: int) -> np.ndarray:
    """Returns unit vectors, float64 `[items, dimensions]`."""
    from sklearn.decomposition import TruncatedSVD

    items = counts.shape[0]
    weighted = counts.copy()
    weighted.data = np.log1p(weighted.data)
    idf = np.log((1.0 + items) / (1.0 + counts.getnnz(axis=0))) + 1.0
    weighted = (weighted @ sparse.diags(idf)).tocsr()
    svd = TruncatedSVD(min(_DIMENSIONS, items - 1), random_state=seed)
    vectors = svd.fit_transform(weighted)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _cluster(points: np.ndarray, clusters: int, method: str, seed: int) -> np.ndarray:
    """Returns the cluster of every point, int `[points]`."""
    if method == "kmeans":
        return _kmeans(points, clusters, seed)[0]
    from sklearn.cluster import AgglomerativeClustering

    if len(points) <= _WARD_MAX_POINTS:
        return AgglomerativeClustering(clusters, linkage="ward").fit_predict(points)
    micro, centres = _kmeans(points, max(_MICRO_CLUSTERS, clusters), seed)
    return AgglomerativeClustering(clusters, linkage="ward").fit_predict(centres)[micro]


def _kmeans(points: np.ndarray, clusters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cluster of every point and the centres."""
    from sklearn.cluster import KMeans, MiniBatchKMeans

    if len(points) > _FULL_KMEANS_MAX_POINTS or clusters >= _MICRO_CLUSTERS:
        found = MiniBatchKMeans(clusters, n_init=1, batch_size=4096, random_state=seed).fit(points)
    else:
        found = KMeans(clusters, n_init=3, random_state=seed).fit(points)
    return found.labels_, found.cluster_centers_
