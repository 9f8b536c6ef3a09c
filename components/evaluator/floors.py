"""Simple recommenders that a model has to beat, on the same examples and metrics."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import sparse

from components.config import EASE_MAX_ITEMS, FLOORS
from components.evaluator.examples import EvalExamples
from components.evaluator.items import Items, indicators
from components.evaluator.learned_floors import ImplicitAls, ease, rp3beta, strongest
from components.evaluator.ranking import rank_dense, rank_sparse
from components.evaluator.training_log import TrainingLog
from components.requests import user_request
from core.progress import track
from trainer import features

#: Items of one user that count for co-occurrence; beyond, work grows with the square.
USER_MAX_ITEMS = 500
#: Co-occurrence entries kept in all, at least `_NEIGHBOURS_MIN` per item: with 10 M items the
#: two matrices of entries take 3 GB together.
_ENTRIES_MAX = 40_000_000
_NEIGHBOURS_MIN = 20
_BLOCK_ITEMS = 2048
#: Scores held at a time.
_CELLS_MAX = 16_000_000


def item_cosine(log: TrainingLog, items: int) -> sparse.csr_matrix:
    """Returns the cosine of item columns of the binary user-item matrix, diagonal 0.

    Args:
      log: what was known before the eval split.
      items: number of items.

    Returns:
      `[items, items]` CSR float32; for large catalogues the nearest of each item only.
    """
    user, item = _distinct_pairs(log.user, log.item, items)
    order = np.argsort(user, kind="stable")
    user, item = user[order], item[order]
    starts = np.searchsorted(user, user)
    kept = np.arange(len(user)) - starts < USER_MAX_ITEMS
    user, item = user[kept], item[kept]
    users = int(user.max()) + 1 if len(user) else 1
    norms = np.sqrt(np.bincount(item, minlength=items)).astype(np.float32)
    matrix = sparse.csr_matrix((1.0 / norms[item], (user, item)), shape=(users, items))
    by_item = matrix.T.tocsr()
    most = neighbours_kept(items)
    blocks = [
        strongest((by_item[i : i + _BLOCK_ITEMS] @ matrix).tocsr(), i, most)
        for i in range(0, items, _BLOCK_ITEMS)
    ]
    return sparse.vstack(blocks, format="csr")


def neighbours_kept(items: int) -> int:
    """Returns how many neighbours of each item are kept in a catalogue of that size."""
    return max(_NEIGHBOURS_MIN, _ENTRIES_MAX // max(1, items))


def transitions(log: TrainingLog, items: int) -> sparse.csr_matrix:
    """Returns how often each item (column) followed each item (row), `[items, items]` CSR."""
    matrix = sparse.csr_matrix(
        (np.ones(len(log.target), np.float32), (log.previous, log.target)), shape=(items, items)
    )
    matrix.sum_duplicates()
    return matrix


class Floors:
    """Ranks with each floor; ties and gaps are filled by popularity, then catalogue order.

    Everything is learned on items numbered by popularity, so that a column's number is its
    place among equal scores.
    """

    def __init__(
        self, log: TrainingLog, items: Items, depth: int, ease_max_items: int = EASE_MAX_ITEMS
    ) -> None:
        """Learns what the floors need.

        Args:
          log: what was known before the eval split.
          items: the catalogue.
          depth: results per list.
          ease_max_items: larger catalogues are ranked without EASE.
        """
        self._items = items
        self._depth = depth
        count = len(items)
        self._popular = np.argsort(-log.popularity, kind="stable").astype(np.int32)
        #: number by popularity of each item; -1 for a row below 0
        self._place = np.full(count + 1, -1, np.int32)
        self._place[self._popular] = np.arange(count)
        original, log = log, self._by_popularity(log)
        self._matrices: dict[str, Any] = {
            "item_cosine": item_cosine(log, count),
            "last_transition": transitions(log, count),
            "rp3beta": rp3beta(log, count, neighbours_kept(count)),
        }
        self._by_topic = items.topics[self._popular].T.tocsr()
        self._als: ImplicitAls | None = None
        #: floor -> why it is left out
        self.left_out: dict[str, str] = {}
        if not len(log.item):
            self.left_out = dict.fromkeys(("ease", "als"), "there is no event to learn from")
            return
        self._als = ImplicitAls(original, count, self._popular)
        if count > ease_max_items:
            self.left_out["ease"] = (
                f"{count:,} items: EASE inverts a matrix of items by items, which is done up to "
                f"{ease_max_items:,} (evaluator.ease_max_items)"
            )
        else:
            self._matrices["ease"] = ease(log, count)

    def _by_popularity(self, log: TrainingLog) -> TrainingLog:
        """Returns the log with items numbered by popularity."""
        return dataclasses.replace(
            log,
            item=self._place[log.item],
            previous=self._place[log.previous],
            target=self._place[log.target],
        )

    def rank(self, examples: EvalExamples, batch_size: int) -> dict[str, np.ndarray]:
        """Returns `[examples, depth]` int32 lists by floor, seen items left out, -1 pads."""
        ranked = [name for name in FLOORS if name not in self.left_out]
        parts: dict[str, list[np.ndarray]] = {name: [] for name in ranked}
        rows = int(np.clip(_CELLS_MAX // max(1, len(self._items)), 1, batch_size))
        with track("ranking with the floors", len(examples)) as bar:
            for batch in examples.batches(rows):
                request = user_request(batch)
                history = self._items.rows(request[features.HISTORY_ITEM_ID])
                history = self._place[np.maximum(history, -1)]
                seen = indicators(history, len(self._items))
                for name in ranked:
                    if name == "last_transition":
                        asked = indicators(history[:, :1], len(self._items))
                    elif name == "topic_popularity":
                        asked = self._items.followed(request[features.FOLLOWED_TOPIC])
                    else:
                        asked = seen
                    parts[name].append(self._lists(name, asked, seen))
                bar.advance(batch.num_rows)
        empty = np.zeros((0, self._depth), np.int32)
        return {name: np.concatenate([*lists, empty]) for name, lists in parts.items()}

    def _lists(self, name: str, asked: sparse.csr_matrix, seen: sparse.csr_matrix) -> np.ndarray:
        """Returns `[examples, depth]` item rows by one floor.

        Args:
          name: of the floor.
          asked: `[examples, items or topics]` CSR of ones, what it scores by.
          seen: `[examples, items]` CSR of ones.
        """
        if name == "als" and self._als is not None:
            scores = self._als.scores(asked)
            scores[np.diff(asked.indptr) == 0] = 0.0  # nothing is known of this user
            found = rank_dense(scores, seen, self._depth)
        elif name == "ease":
            found = rank_dense(asked @ self._matrices[name], seen, self._depth)
        else:
            if name == "popularity":
                scored = sparse.csr_matrix(seen.shape, dtype=np.float32)
            elif name == "topic_popularity":
                scored = (asked @ self._by_topic).tocsr()
                scored.data[:] = 1.0  # carriers of several followed topics count once
            else:
                scored = (asked @ self._matrices[name]).tocsr()
            found = rank_sparse(scored, seen, self._depth)
        return np.where(found >= 0, self._popular[np.maximum(found, 0)], -1).astype(np.int32)


def _distinct_pairs(
    user: np.ndarray, item: np.ndarray, items: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each (user, item) once, in order of first occurrence."""
    key = user.astype(np.int64) * items + item
    first = np.sort(np.unique(key, return_index=True)[1])
    return user[first], item[first]
