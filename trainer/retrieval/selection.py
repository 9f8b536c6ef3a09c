"""From slots to one list per user: how deep each search goes, the searches, the merge."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainer.config import RetrievalConfig
from trainer.retrieval import merge
from trainer.retrieval.allowed import search_allowed
from trainer.retrieval.budgets import EXPLICIT, slot_budgets
from trainer.retrieval.delta_search import DeltaTopicFilter
from trainer.retrieval.filters import ItemFilters, RequestedFilters
from trainer.retrieval.neighbours import Neighbours
from trainer.retrieval.search import Searcher
from trainer.retrieval.topic_filter import TopicFilter

#: Seen items that a slot over-fetches for, at most; longer histories may shorten the list.
SEEN_MAX_ITEMS = 1024
#: Candidates that every slot is asked for at least (or as many as are wanted in all).
DEPTH_MIN = 100
#: Candidates that all slots together are asked for, at least, per wanted item.
_OFFERS_PER_ITEM = 2


class SearchedSlots(NamedTuple):
    """What the users of a batch are searched for.

    Attributes:
      vectors: `[batch, slots, dim]` float32.
      topic: `[batch, slots]` string, of explicit slots.
      kind: `[batch, slots]` int32, `budgets.IMPLICIT` or `EXPLICIT`.
      mass: `[batch, slots]` float32, routing mass of implicit slots.
      valid: `[batch, slots]` bool, slots that are searched; their vectors are finite.
      seen: `[batch, any]` int32 rows of items never brought, -1 pads.
      limit: `[batch]` int32, items wanted.
      asked: filters of the request; None for none.
      sources: `[batch, any]` int32 rows of the history items whose neighbours count, newest
        first, -1 for none; needed where there are neighbours.
    """

    vectors: tf.Tensor
    topic: tf.Tensor
    kind: tf.Tensor
    mass: tf.Tensor
    valid: tf.Tensor
    seen: tf.Tensor
    limit: tf.Tensor
    asked: RequestedFilters | None = None
    sources: tf.Tensor | None = None

    def of_users(self, where: tf.Tensor) -> SearchedSlots:
        """Returns what some users, `[some, 1]` int64, are searched for."""

        def own(values: tf.Tensor | RequestedFilters | None) -> Any:
            if values is None:
                return None
            if isinstance(values, RequestedFilters):
                return RequestedFilters(*map(own, values))
            return tf.gather_nd(values, where)

        return SearchedSlots(*map(own, self))

    def not_brought(self) -> tf.Tensor:
        """Returns `[batch, any]` int32 rows of items never brought: seen ones and denied ones."""
        if self.asked is None:
            return self.seen
        return tf.concat([self.seen, self.asked.deny], axis=1)


class Selector(tf.Module):
    """Searches per slot and merges.

    Round robin needs few candidates of each slot where there are many slots. So
    each slot is asked for its user's `depth` first, and only users whose lists stay
    short are searched again, as deep as the list is long. Turns beyond the budgets
    go rank by rank, therefore a list that is full is the very list that deeper
    searches would give.
    """

    def __init__(
        self,
        config: RetrievalConfig,
        searcher: Searcher,
        topic_filter: TopicFilter | DeltaTopicFilter | None,
        item_filters: ItemFilters | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        """Keeps the parts.

        Args:
          config: shares and merge rule.
          searcher: of the whole catalogue.
          topic_filter: for explicit slots; without one they search the whole catalogue.
          item_filters: for requests that allow a part of the catalogue only.
          neighbours: of the items; no part of merge `round_robin`.
        """
        super().__init__(name="selector")
        self.config = config
        self.searcher = searcher
        self.topic_filter = topic_filter
        self.item_filters = item_filters
        self.neighbours = neighbours

    def select(self, wanted: SearchedSlots) -> merge.Merged:
        """Returns each user's list.

        `found_by` speaks of the first `depth` candidates of each slot, or of the
        first `limit` for a user who was searched again; neither depends on who
        else is in the batch.
        """
        if self.config.merge != "round_robin":
            return self.merged(wanted, *self.candidates(wanted, wanted.limit))
        budgets, depth = self._plan(wanted)
        rows, scores = self.candidates(wanted, depth)
        gone = wanted.not_brought()
        found = merge.round_robin(rows, scores, budgets, wanted.limit, gone, depth)
        last = tf.minimum(depth, tf.shape(rows)[2] - 1)
        more = tf.reduce_any(tf.gather(rows, last, axis=2, batch_dims=1) >= 0, axis=1)
        short = more & (depth < wanted.limit) & (found.count < wanted.limit)
        return tf.cond(
            tf.reduce_any(short),
            lambda: self._search_again(wanted, found, tf.where(short)),
            lambda: found,
        )

    def merged(self, wanted: SearchedSlots, rows: tf.Tensor, scores: tf.Tensor) -> merge.Merged:
        """Merges candidates that were searched as deep as the longest list.

        Args:
          wanted: see `Wanted`.
          rows: `[batch, slots, candidates]` int32, from `candidates`.
          scores: the same shape, float32.
        """
        if self.config.merge == "round_robin":
            budgets = self._budgets(wanted)
            return merge.round_robin(rows, scores, budgets, wanted.limit, wanted.not_brought())
        handicap = self._handicap(wanted) if self.config.merge == "balanced" else None
        gone, agreement = wanted.not_brought(), self.config.agreement
        if self.neighbours is not None:
            return self.neighbours.merged(wanted, rows, scores, handicap, agreement, self)
        return merge.best_score(rows, scores, wanted.limit, gone, handicap, agreement)

    def candidates(self, wanted: SearchedSlots, depth: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Searches every valid slot.

        Args:
          wanted: see `Wanted`.
          depth: `[batch]` int32, unseen candidates needed of each slot.

        Returns:
          Rows and scores, `[batch, slots, candidates]`: int32 with -1 pads, float32
          with -inf pads, best first. There are as many more than the largest depth
          as any user's seen items take.
        """
        k = tf.reduce_max(tf.pad(depth, [[0, 1]], constant_values=1))
        k += tf.minimum(_most(wanted.seen), SEEN_MAX_ITEMS)
        if wanted.asked is None or self.item_filters is None:
            return self._found(wanted, k, None)
        k += _most(wanted.asked.deny)
        return self.item_filters.searched(
            wanted.asked, lambda where, allowed: self._found(wanted.of_users(where), k, allowed), 3
        )

    def _found(
        self, wanted: SearchedSlots, k: tf.Tensor, allowed: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns k candidates of each slot among the allowed items (`[items]` bool; None: all)."""
        explicit = tf.equal(wanted.kind, EXPLICIT)
        free = wanted.valid & ~explicit if self.topic_filter is not None else wanted.valid
        where = tf.where(free)
        queries = tf.gather_nd(wanted.vectors, where)
        if allowed is None:
            rows, scores = self.searcher.search(queries, k)
        else:
            rows, scores = search_allowed(self.searcher, queries, k, allowed)
        if self.topic_filter is not None:
            within = tf.where(wanted.valid & explicit)
            more_rows, more_scores = self.topic_filter.search(
                tf.gather_nd(wanted.vectors, within), tf.gather_nd(wanted.topic, within), k, allowed
            )
            where = tf.concat([where, within], axis=0)
            rows = tf.concat([rows, more_rows], axis=0)
            scores = tf.concat([scores, more_scores], axis=0)
        shape = tf.concat([tf.shape(wanted.valid), k[None]], axis=0)
        nothing = tf.fill(shape, tf.constant(-np.inf, tf.float32))
        return (
            tf.tensor_scatter_nd_update(tf.fill(shape, -1), where, rows),
            tf.tensor_scatter_nd_update(nothing, where, scores),
        )

    def first_candidates(self, wanted: SearchedSlots) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what `select` merges first (round robin); see `candidates`."""
        return self.candidates(wanted, self._plan(wanted)[1])

    def _plan(self, wanted: SearchedSlots) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the budgets `[batch, slots]` and the depth `[batch]` of the first search."""
        budgets = self._budgets(wanted)
        return budgets, slot_depth(budgets, wanted.valid, wanted.limit)

    def _budgets(self, wanted: SearchedSlots) -> tf.Tensor:
        by_mass = self.config.implicit_budget == "mass"
        return slot_budgets(
            wanted.mass if by_mass else tf.ones_like(wanted.mass),
            wanted.valid,
            wanted.kind,
            wanted.limit,
            self.config.explicit_share,
        )

    def _handicap(self, wanted: SearchedSlots) -> tf.Tensor:
        """Returns the score that each slot loses per candidate, `[batch, slots]` float32."""
        budgets = tf.cast(tf.maximum(self._budgets(wanted), 1), tf.float32)
        return self.config.balance / budgets

    def _search_again(
        self, wanted: SearchedSlots, found: merge.Merged, where: tf.Tensor
    ) -> merge.Merged:
        """Replaces the lists of users `[some, 1]` by those of searches as deep as the list."""
        part = wanted.of_users(where)
        rows, scores = self.candidates(part, part.limit)
        gone = part.not_brought()
        again = merge.round_robin(rows, scores, self._budgets(part), part.limit, gone)
        missing = tf.shape(found.row)[1] - tf.shape(again.row)[1]
        pads = merge.Merged(row=-1, score=0.0, slot=-1, found_by=0, count=0)

        def replaced(old: tf.Tensor, new: tf.Tensor, pad: float) -> tf.Tensor:
            if new.shape.rank == 2:
                new = tf.pad(new, [[0, 0], [0, missing]], constant_values=pad)
            return tf.tensor_scatter_nd_update(old, where, new)

        return merge.Merged(*[replaced(*values) for values in zip(found, again, pads, strict=True)])


def _most(rows: tf.Tensor) -> tf.Tensor:
    """Returns the most rows (-1 pads) that any user has; 0 for an empty batch."""
    return tf.reduce_max(tf.pad(tf.reduce_sum(tf.cast(rows >= 0, tf.int32), axis=1), [[0, 1]]))


def slot_depth(budgets: tf.Tensor, valid: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    """Returns how many candidates of each slot a user's merge looks at first.

    Twice the items wanted, divided by the user's slots; but not less than the largest
    budget or `DEPTH_MIN`, and not more than are wanted in all.

    Args:
      budgets: `[batch, slots]` int32.
      valid: `[batch, slots]` bool.
      limit: `[batch]` int32.

    Returns:
      `[batch]` int32.
    """
    slots = tf.maximum(tf.reduce_sum(tf.cast(valid, tf.int32), axis=1), 1)
    depth = tf.maximum(_OFFERS_PER_ITEM * limit // slots, DEPTH_MIN)
    return tf.minimum(tf.maximum(depth, tf.reduce_max(budgets, axis=1)), limit)
