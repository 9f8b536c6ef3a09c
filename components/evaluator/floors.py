"""Simple recommenders that a model has to beat, on the same examples and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from components.config import EASE_MAX_ITEMS, FLOORS
from components.evaluator.examples import EvalExamples
from components.evaluator.items import Items
from components.evaluator.learned_floors import ImplicitAls, ease, rp3beta, strongest
from components.evaluator.training_log import TrainingLog
from components.requests import user_request
from core.progress import track
from trainer import features

#: Items of one user that count for co-occurrence; beyond, work grows with the square.
USER_MAX_ITEMS = 500
#: Co-occurrence entries kept in all, at least `_NEIGHBOURS_MIN` per item.
_ENTRIES_MAX = 40_000_000
_NEIGHBOURS_MIN = 100
_BLOCK_ITEMS = 2048


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
    most = max(_NEIGHBOURS_MIN, _ENTRIES_MAX // max(1, items))
    blocks = [
        strongest((by_item[i : i + _BLOCK_ITEMS] @ matrix).tocsr(), i, most)
        for i in range(0, items, _BLOCK_ITEMS)
    ]
    return sparse.vstack(blocks, format="csr")


def transitions(log: TrainingLog, items: int) -> sparse.csr_matrix:
    """Returns how often each item (column) followed each item (row), `[items, items]` CSR."""
    matrix = sparse.csr_matrix(
        (np.ones(len(log.target), np.float32), (log.previous, log.target)), shape=(items, items)
    )
    matrix.sum_duplicates()
    return matrix


class Floors:
    """Ranks with each floor; ties and gaps are filled by popularity, then catalogue order."""

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
        self._popular = np.argsort(-log.popularity, kind="stable").astype(np.int32)
        #: position of each item in the popularity order: a total order for ties
        self._place = np.empty(len(items), np.int64)
        self._place[self._popular] = np.arange(len(items))
        #: scratch: items that the list at hand may not take, all False between lists
        self._taken = np.zeros(len(items), bool)
        count = len(items)
        self._matrices: dict[str, Any] = {
            "item_cosine": item_cosine(log, count),
            "last_transition": transitions(log, count),
            "rp3beta": rp3beta(log, count, max(_NEIGHBOURS_MIN, _ENTRIES_MAX // max(1, count))),
        }
        self._by_topic = items.topics.T.tocsr()
        self._als: ImplicitAls | None = None
        #: floor -> why it is left out
        self.left_out: dict[str, str] = {}
        if not len(log.item):
            self.left_out = dict.fromkeys(("ease", "als"), "there is no event to learn from")
            return
        self._als = ImplicitAls(log, count)
        if count > ease_max_items:
            self.left_out["ease"] = (
                f"{count:,} items: EASE inverts a matrix of items by items, which is done up to "
                f"{ease_max_items:,} (evaluator.ease_max_items)"
            )
        else:
            self._matrices["ease"] = ease(log, count)

    def rank(self, examples: EvalExamples, batch_size: int) -> dict[str, np.ndarray]:
        """Returns `[examples, depth]` int32 lists by floor, seen items left out, -1 pads."""
        ranked = [name for name in FLOORS if name not in self.left_out]
        parts: dict[str, list[np.ndarray]] = {name: [] for name in ranked}
        with track("ranking with the floors", len(examples)) as bar:
            for batch in examples.batches(batch_size):
                request = user_request(batch)
                seen = self._items.rows(request[features.HISTORY_ITEM_ID])
                for name in ranked:
                    sources = self._candidates(name, seen, request[features.FOLLOWED_TOPIC])
                    lists = [
                        self._list(candidates, scores, row)
                        for (candidates, scores), row in zip(sources, seen, strict=True)
                    ]
                    parts[name].append(np.stack(lists))
                bar.advance(batch.num_rows)
        empty = np.zeros((0, self._depth), np.int32)
        return {name: np.concatenate([*lists, empty]) for name, lists in parts.items()}

    def _candidates(
        self, name: str, seen: np.ndarray, follows: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields scored candidates of each example; all others rank behind by popularity."""
        nothing = np.zeros(0, np.int32), np.zeros(0, np.float32)
        if name == "popularity":
            yield from (nothing for _ in seen)
        elif name == "topic_popularity":
            for topics in follows:
                columns = self._items.topic_columns([t for t in topics if t])
                carriers = self._by_topic[columns].indices if columns else nothing[0]
                carriers = np.unique(carriers)
                yield carriers, np.ones(len(carriers), np.float32)
        else:
            history = seen[:, :1] if name == "last_transition" else seen
            example, place = np.nonzero(history >= 0)
            ones = np.ones(len(example), np.float32)
            weights = sparse.csr_matrix(
                (ones, (example, history[example, place])), shape=(len(seen), len(self._items))
            )
            # A repeated item counts once.
            weights.data[:] = 1.0
            if name == "als" and self._als is not None:
                yield from self._of_every_item(self._als.scores(weights), weights)
                return
            if name == "ease":
                yield from self._of_every_item(weights @ self._matrices[name], weights)
                return
            scored = (weights @ self._matrices[name]).tocsr()
            for start, end in zip(scored.indptr[:-1], scored.indptr[1:], strict=True):
                yield scored.indices[start:end], scored.data[start:end]

    def _of_every_item(
        self, scores: np.ndarray, histories: sparse.csr_matrix
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields all items with their scores; nothing for an example without a history."""
        everything = np.arange(len(self._items), dtype=np.int32)
        for row, known in zip(scores, np.diff(histories.indptr) > 0, strict=True):
            yield (everything, row) if known else (everything[:0], row[:0])

    def _list(self, candidates: np.ndarray, scores: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Returns the best unseen candidates, then the most popular unseen other items."""
        depth = self._depth
        seen = seen[seen >= 0]
        self._taken[seen] = True
        fresh = ~self._taken[candidates] & (scores > 0)
        candidates, scores = candidates[fresh], scores[fresh]
        if len(scores) > depth:
            bound = np.partition(scores, len(scores) - depth)[len(scores) - depth]
            strong = scores >= bound
            candidates, scores = candidates[strong], scores[strong]
        order = np.lexsort((self._place[candidates], -scores))[:depth]
        chosen = candidates[order].astype(np.int32)
        result = np.full(depth, -1, np.int32)
        result[: len(chosen)] = chosen
        self._taken[chosen] = True
        if len(chosen) < depth:
            # Of this many popular items, enough are neither seen nor chosen.
            pool = self._popular[: depth + len(seen)]
            rest = pool[~self._taken[pool]][: depth - len(chosen)]
            result[len(chosen) : len(chosen) + len(rest)] = rest
        self._taken[seen] = False
        self._taken[chosen] = False
        return result


def _distinct_pairs(
    user: np.ndarray, item: np.ndarray, items: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each (user, item) once, in order of first occurrence."""
    key = user.astype(np.int64) * items + item
    first = np.sort(np.unique(key, return_index=True)[1])
    return user[first], item[first]
