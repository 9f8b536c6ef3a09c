"""Where training starts: item vectors that know what is engaged with together.

A random start learns from the loss alone who belongs together, one pair of a step at a time;
counting says it at once, and the loss only has to correct it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from scipy import sparse

from trainer import features, inputs

#: Training examples that are counted at most, in the order of the files.
MAX_EXAMPLES = 1_000_000
_COLUMNS = tuple(features.transformed_name(n) for n in (features.HISTORY_ITEM_ID, features.ITEM_ID))
_POWER_ITERATIONS = 4


class ItemStart(NamedTuple):
    """First rows of the item tower.

    Attributes:
      items: `[item_rows, dim]` float32, rows of the id table; 0 where nothing was counted.
      counted: `[item_rows]` bool, items that occur beside another one.
      topics: `[topic_rows, dim]` float32, mean vector of the topic's counted items.
      values: the same of features with a table, by name: of what topics and the features
        before leave of their items.
    """

    items: np.ndarray
    counted: np.ndarray
    topics: np.ndarray
    values: dict[str, np.ndarray]


def co_occurrence(files: Sequence[str], spec: Mapping[str, Any], item_rows: int) -> Any:
    """Counts how often two different items are history item and target of one example.

    Args:
      files: transformed training examples.
      spec: transformed feature spec.
      item_rows: rows of the item tables.

    Returns:
      Symmetric CSR float32 `[item_rows, item_rows]`, diagonal 0.
    """
    counts = sparse.csr_matrix((item_rows, item_rows), dtype=np.float32)
    for columns in inputs.stream_columns(files, {n: spec[n] for n in _COLUMNS}, MAX_EXAMPLES):
        history, target = columns[_COLUMNS[0]], columns[_COLUMNS[1]][:, 0]
        beside = np.broadcast_to(target[:, np.newaxis], history.shape)
        pairs = (history > 0) & (beside > 0) & (history != beside)
        ones = np.ones(int(pairs.sum()), np.float32)
        counts += sparse.csr_matrix((ones, (history[pairs], beside[pairs])), shape=counts.shape)
    return (counts + counts.T).tocsr()


def start_from(
    counts: Any,
    item_topics: np.ndarray,
    topic_rows: int,
    dim: int,
    item_values: Mapping[str, tuple[np.ndarray, int]] | None = None,
) -> ItemStart:
    """Places items by a truncated SVD of their positive pointwise mutual information.

    The left singular vectors, scaled to length 1, are the items (a whitened spectrum found
    more than one weighted by its values). The item tower adds the mean of an item's topics to
    its id, so topics start at the mean of their items and ids at what that leaves.

    Args:
      counts: from `co_occurrence`.
      item_topics: `[item_rows, topics]` int, 0 for none.
      topic_rows: rows of the topic table.
      dim: width of the vectors.
      item_values: `[item_rows, width]` int indices of features, 0 for none, and the rows of
        their tables.
    """
    rows = counts.shape[0]
    seen = np.flatnonzero(np.diff(counts.indptr))
    items = np.zeros((rows, dim), np.float32)
    counted = np.zeros(rows, bool)
    topics = np.zeros((topic_rows, dim), np.float32)
    if len(seen) <= dim:
        return ItemStart(items, counted, topics, {})
    items[seen] = _embed(counts[seen][:, seen], dim)
    counted[seen] = True
    topics = _shared(items, seen, item_topics, topic_rows)
    values = {
        name: _shared(items, seen, table, table_rows)
        for name, (table, table_rows) in (item_values or {}).items()
    }
    return ItemStart(items, counted, topics, values)


def _shared(
    items: np.ndarray, seen: np.ndarray, carried_by_item: np.ndarray, rows: int
) -> np.ndarray:
    """Takes from the seen items, in place, the mean of what items with the same values share.

    Returns:
      `[rows, dim]` float32, that mean by value.
    """
    carried = carried_by_item[seen]
    owner, place = np.nonzero(carried)
    membership = sparse.csr_matrix(
        (np.ones(len(owner), np.float32), (carried[owner, place], seen[owner])),
        shape=(rows, len(items)),
    )
    sizes = np.maximum(np.asarray(membership.sum(axis=1)), 1.0)
    shared = np.asarray(membership @ items / sizes, np.float32)
    share = 1.0 / np.maximum((carried > 0).sum(axis=1, keepdims=True), 1)
    items[seen] -= shared[carried].sum(axis=1) * share
    return shared


def _embed(counts: Any, dim: int) -> np.ndarray:
    """Unit vectors, float32 `[items, dim]`, of a symmetric matrix without empty rows."""
    from sklearn.utils.extmath import randomized_svd

    pairs = counts.tocoo()
    frequency = np.asarray(counts.sum(axis=1)).ravel()
    expected = frequency[pairs.row] * frequency[pairs.col] / frequency.sum()
    information = np.maximum(np.log(pairs.data / expected), 0.0).astype(np.float32)
    matrix = sparse.csr_matrix((information, (pairs.row, pairs.col)), shape=counts.shape)
    vectors = randomized_svd(matrix, dim, n_iter=_POWER_ITERATIONS, random_state=0)[0]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def apply_start(model: Any, start: ItemStart) -> int:
    """Moves a built model to the start; returns the number of items that it places.

    Where it places none (there are no more items than dimensions) the model stays as it is.
    User towers start as the condition itself, which now lies among the items it stands for.

    Args:
      model: a built `RetrievalModel`.
      start: from `start_from`.
    """
    if not start.counted.any():
        return 0
    ids, topics = model.item_tower.ids.embeddings, model.item_tower.topics.embeddings
    ids.assign(tf.where(start.counted[:, np.newaxis], start.items, ids))
    some = np.any(start.topics != 0.0, axis=1, keepdims=True)
    topics.assign(tf.where(some, start.topics, topics))
    for name, shared in start.values.items():
        model.item_tower.values.layers[name].embeddings.assign(shared)
    for tower in (model.user_tower, model.topic_tower):
        if tower is not None:
            tower.start_as_condition()
    return int(start.counted.sum())
