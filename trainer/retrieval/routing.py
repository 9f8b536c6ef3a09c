"""One request, several servers: a router encodes, each shard searches, the router merges.

Neither the encoder nor the merge knows the catalogue, and a shard knows nothing but its
items; so each process holds its part once. What comes out is what a `Retriever` over all
items answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer import features
from trainer.config import RetrievalConfig
from trainer.inputs_by_name import with_inputs
from trainer.retrieval import featured, merge, signature
from trainer.retrieval.filters import Attributes, ItemFilters
from trainer.retrieval.retriever import check_sizes, checked, list_length, searched_slots
from trainer.retrieval.search import ExactSearch, Searcher, best_rows, save_options
from trainer.retrieval.selection import SearchedSlots, Selector, slot_depth
from trainer.retrieval.topic_filter import TopicFilter

#: Signatures of a router's SavedModel: the inputs of `retrieve`, and of `retrieve_filtered`, ...
ENCODE, ENCODE_FILTERED = "encode", "encode_filtered"
#: ... and the answers of the shards.
MERGE = "merge"
#: Signatures of a shard's SavedModel.
SEARCH_SLOTS, SEARCH_SLOTS_FILTERED = "search_slots", "search_slots_filtered"

VECTORS, VALID, MASS, LIMIT = "vectors", "slot_valid", "slot_mass", "limit"
SLOT_TOPIC, SLOT_KIND, HISTORY_SLOT = "slot_topic", "slot_kind", "history_slot"
ITEM_ID, SCORE = "item_id", "score"

#: What a shard is asked, by the names that the encoder gives.
SEARCH_SPECS = {
    VECTORS: tf.TensorSpec([None, None, None], tf.float32, VECTORS),
    SLOT_TOPIC: tf.TensorSpec([None, None], tf.string, SLOT_TOPIC),
    SLOT_KIND: tf.TensorSpec([None, None], tf.int32, SLOT_KIND),
    VALID: tf.TensorSpec([None, None], tf.bool, VALID),
    LIMIT: tf.TensorSpec([None], tf.int32, LIMIT),
    features.HISTORY_ITEM_ID: signature.USER_SPECS[features.HISTORY_ITEM_ID],
}
#: What the encoder gives to the merge, beside the answers of all shards along the last axis.
MERGE_SPECS = {
    SLOT_TOPIC: SEARCH_SPECS[SLOT_TOPIC],
    SLOT_KIND: SEARCH_SPECS[SLOT_KIND],
    VALID: SEARCH_SPECS[VALID],
    MASS: tf.TensorSpec([None, None], tf.float32, MASS),
    LIMIT: SEARCH_SPECS[LIMIT],
    HISTORY_SLOT: tf.TensorSpec([None, None], tf.int32, HISTORY_SLOT),
    signature.USER_ID: tf.TensorSpec([None], tf.string, signature.USER_ID),
    ITEM_ID: tf.TensorSpec([None, None, None], tf.string, ITEM_ID),
    SCORE: tf.TensorSpec([None, None, None], tf.float32, SCORE),
}


class ShardRetriever(tf.Module):
    """The items of one shard, searched for the slots that a router encoded."""

    def __init__(
        self,
        item_ids: Sequence[bytes],
        item_topics: Sequence[Sequence[bytes]],
        item_embeddings: np.ndarray,
        config: RetrievalConfig,
        searcher: Callable[[tf.Variable], Searcher] = ExactSearch,
        attributes: Attributes | None = None,
    ) -> None:
        """Loads the shard's items into variables; see `Retriever`."""
        super().__init__(name="shard")
        check_sizes(item_ids, item_topics, item_embeddings)
        self.config = config
        ids = np.asarray(item_ids, object)
        self.item_ids = tf.Variable(ids, dtype=tf.string, trainable=False)
        self.row_table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(ids, tf.string), tf.range(len(ids), dtype=tf.int32)
            ),
            default_value=-1,
        )
        vectors = tf.Variable(np.asarray(item_embeddings, np.float32), trainable=False)
        within = TopicFilter(vectors, item_topics) if config.topic_filter else None
        filters = None if attributes is None else ItemFilters(len(ids), attributes, None)
        self.selector = Selector(config, searcher(vectors), within, filters)

    def search_slots(self, given: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the best unseen items of each slot.

        Args:
          given: inputs of `SEARCH_SPECS`, and those of `signature.FILTER_SPECS` of a filtered
            request.

        Returns:
          `item_id` and `score`, `[batch, slots, n]`, n being the largest limit of the batch:
          best first, '' and -inf pads.
        """
        history = given[features.HISTORY_ITEM_ID]
        seen = self.row_table.lookup(history)
        if not self.config.exclude_seen:
            seen = tf.fill(tf.shape(history), -1)
        wanted = SearchedSlots(
            vectors=given[VECTORS],
            topic=given[SLOT_TOPIC],
            kind=given[SLOT_KIND],
            mass=tf.zeros(tf.shape(given[VALID])),
            valid=given[VALID],
            seen=seen,
            limit=given[LIMIT],
        )
        filters, names = self.selector.item_filters, list(signature.FILTER_SPECS)
        if filters is not None and names[0] in given:
            asked = filters.asked(self.row_table.lookup, *(given[name] for name in names))
            wanted = wanted._replace(asked=asked)
        rows, scores = self.selector.candidates(wanted, wanted.limit)
        there = merge.unseen(rows, wanted.not_brought())
        scores = tf.where(there, scores, tf.fill(tf.shape(scores), tf.constant(-np.inf)))
        shape, most = tf.shape(rows), tf.reduce_max(tf.pad(wanted.limit, [[0, 1]]))
        slots = shape[0] * shape[1]
        flat = best_rows(
            tf.reshape(rows, [slots, shape[2]]), tf.reshape(scores, [slots, shape[2]]), most
        )
        wide = tf.concat([shape[:2], most[None]], axis=0)
        rows, scores = tf.reshape(flat[0], wide), tf.reshape(flat[1], wide)
        ids = tf.gather(self.item_ids, tf.maximum(rows, 0))
        return {ITEM_ID: tf.where(tf.math.is_finite(scores), ids, ""), SCORE: scores}

    def signatures(self) -> dict[str, Any]:
        """Returns the signatures of the SavedModel."""
        found = {SEARCH_SLOTS: with_inputs(self.search_slots, SEARCH_SPECS)}
        if self.selector.item_filters is not None:
            specs = {**SEARCH_SPECS, **signature.FILTER_SPECS}
            found[SEARCH_SLOTS_FILTERED] = with_inputs(self.search_slots, specs)
        return found


class _Given(Selector):
    """Merges candidates that others searched for, as deep as the longest list."""

    def select_given(
        self, wanted: SearchedSlots, rows: tf.Tensor, scores: tf.Tensor
    ) -> merge.Merged:
        """Returns what `select` does for the users whose candidates these are."""
        deep = self.merged(wanted, rows, scores)
        if self.config.merge != "round_robin":
            return deep
        budgets = self._budgets(wanted)
        depth = slot_depth(budgets, wanted.valid, wanted.limit)
        first = merge.round_robin(rows, scores, budgets, wanted.limit, None, depth)
        # A list that is full is the same; what found its items is told of the depth searched.
        short = (depth < wanted.limit) & (first.count < wanted.limit)
        found_by = tf.where(short[:, None], deep.found_by, first.found_by)
        return deep._replace(found_by=found_by)


class Router(tf.Module):
    """The two ends of a request: the encoder of users and the merge."""

    def __init__(self, embedding_model: Any, config: RetrievalConfig, filtered: bool) -> None:
        """Keeps the model.

        Args:
          embedding_model: has `embed_user` (trainer.export).
          config: number of results, shares and merge rule.
          filtered: the shards have filters.
        """
        super().__init__(name="router")
        self.embedding_model = embedding_model
        self.config = config
        self._filtered = filtered
        self._user = dict(signature.USER_SPECS)
        if featured.has_features(embedding_model):
            self._user[features.USER_VALUES] = featured.SPECS[features.USER_VALUES]
        # The search is elsewhere.
        self._selector = _Given(config, None, None)  # type: ignore[arg-type]

    def encode(self, given: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns what the shards are asked and what the merge needs.

        Args:
          given: inputs of `retrieve` or `retrieve_filtered`.

        Raises:
          InvalidArgumentError: as `retrieve`.
        """
        user = {name: given[name] for name in self._user}
        rows = tf.shape(user[features.TIMESTAMP])
        if features.USER_VALUES in user:
            user[features.USER_VALUES] = _for_rows(user[features.USER_VALUES], rows)
        user = checked(user)
        options = {name: tf.broadcast_to(given[name], rows) for name in signature.OPTION_SPECS}
        use = [options[name] for name in (signature.USE_IMPLICIT, signature.USE_EXPLICIT)]
        slots = self.embedding_model.embed_user(**user)
        filters = {
            name: _for_rows(given[name], rows) for name in signature.FILTER_SPECS if name in given
        }
        return {
            VECTORS: slots["embeddings"],
            SLOT_TOPIC: slots["slot_topic"],
            SLOT_KIND: slots["slot_kind"],
            VALID: searched_slots(slots, *use),
            MASS: slots["mass"],
            HISTORY_SLOT: slots["history_slot"],
            LIMIT: list_length(options[signature.NUM_RESULTS], self.config),
            features.HISTORY_ITEM_ID: user[features.HISTORY_ITEM_ID],
            signature.USER_ID: options[signature.USER_ID],
            **filters,
        }

    def merge(self, given: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns what `retrieve` returns.

        Args:
          given: inputs of `MERGE_SPECS`; candidates are of distinct items within a slot.
        """
        ids, scores = given[ITEM_ID], given[SCORE]
        # The lists of the shards follow one another; equal scores keep their order.
        most = tf.minimum(tf.reduce_max(tf.pad(given[LIMIT], [[0, 1]])), tf.shape(ids)[2])
        scores, place = tf.math.top_k(scores, most)
        ids = tf.gather(ids, place, batch_dims=2)
        shape = tf.shape(ids)
        known, row = tf.unique(tf.reshape(ids, [-1]))
        rows = tf.where(ids != "", tf.reshape(row, shape), -1)
        wanted = SearchedSlots(
            vectors=tf.zeros([shape[0], shape[1], 0]),
            topic=given[SLOT_TOPIC],
            kind=given[SLOT_KIND],
            mass=given[MASS],
            valid=given[VALID],
            seen=tf.fill([shape[0], 0], -1),
            limit=given[LIMIT],
        )
        merged = self._selector.select_given(wanted, rows, scores)
        pads, picked = merged.row < 0, tf.maximum(merged.slot, 0)
        found = tf.gather(tf.pad(known, [[0, 1]]), tf.maximum(merged.row, 0))
        topic = tf.gather(given[SLOT_TOPIC], picked, batch_dims=1)
        kind = tf.gather(given[SLOT_KIND], picked, batch_dims=1)
        return {
            ITEM_ID: tf.where(pads, "", found),
            SCORE: merged.score,
            "slot": merged.slot,
            SLOT_KIND: tf.where(pads, -1, kind),
            SLOT_TOPIC: tf.where(pads, "", topic),
            "found_by": merged.found_by,
            "count": merged.count,
            HISTORY_SLOT: given[HISTORY_SLOT],
            MASS: given[MASS],
            VALID: given[VALID],
            signature.USER_ID: given[signature.USER_ID],
        }

    def signatures(self) -> dict[str, Any]:
        """Returns the signatures of the SavedModel; inputs and defaults are those of `retrieve`."""
        specs = {**signature.USER_SPECS, **signature.OPTION_SPECS}
        specs |= {name: spec for name, spec in self._user.items() if name not in specs}
        defaults = {name: signature.default_option(name) for name in signature.OPTION_SPECS}
        texts = {name: signature.no_filter() for name in (*featured.SPECS, *signature.FILTER_SPECS)}
        left_out = defaults | {name: text for name, text in texts.items() if name in specs}
        found = {
            ENCODE: with_inputs(self.encode, specs, left_out),
            MERGE: with_inputs(self.merge, MERGE_SPECS),
        }
        if self._filtered:
            more = {**specs, **signature.FILTER_SPECS}
            found[ENCODE_FILTERED] = with_inputs(self.encode, more, defaults | texts)
        return found


def save_module(module: ShardRetriever | Router, path: str) -> None:
    """Writes a SavedModel; ScaNN's ops must be registered by whoever loads one that has them."""
    searcher = module.selector.searcher if isinstance(module, ShardRetriever) else None
    options = save_options(searcher)
    tf.saved_model.save(module, path, signatures=module.signatures(), options=options)


def _for_rows(texts: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    return tf.broadcast_to(texts, tf.stack([rows[0], tf.shape(texts)[1]]))
