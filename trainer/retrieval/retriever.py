"""The served module: raw features in, merged items with their reasons out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from core.errors import ExportError
from trainer import features
from trainer.config import RetrievalConfig
from trainer.retrieval import featured, filtered, score, signature, similar
from trainer.retrieval.budgets import EXPLICIT, EXPLORED, NEIGHBOUR
from trainer.retrieval.delta import Delta
from trainer.retrieval.delta_search import DeltaSearch, DeltaTopicFilter
from trainer.retrieval.explore import Explorer
from trainer.retrieval.filters import Attributes, ItemFilters, RequestedFilters
from trainer.retrieval.neighbours import Neighbours, NeighbourTable
from trainer.retrieval.search import ExactSearch, Searcher, save_options
from trainer.retrieval.selection import SearchedSlots, Selector
from trainer.retrieval.topic_filter import TopicFilter

_NO_USER_ID = signature.default_option(signature.USER_ID)
_NUM_RESULTS = signature.default_option(signature.NUM_RESULTS)
_USE_IMPLICIT = signature.default_option(signature.USE_IMPLICIT)
_USE_EXPLICIT = signature.default_option(signature.USE_EXPLICIT)


class Retriever(tf.Module):
    """Embeds a user, searches per slot and merges, all in one graph.

    Every batch size works, 0 as well; unknown items and topics are answered
    from what else is known of the user.
    """

    def __init__(
        self,
        embedding_model: Any,
        item_ids: Sequence[bytes],
        item_topics: Sequence[Sequence[bytes]],
        item_embeddings: np.ndarray,
        config: RetrievalConfig,
        searcher: Callable[[tf.Variable], Searcher] = ExactSearch,
        attributes: Attributes | None = None,
        newest: np.ndarray | None = None,
        delta: str | None = None,
        neighbours: NeighbourTable | None = None,
    ) -> None:
        """Loads the catalogue into variables.

        Args:
          embedding_model: has `embed_user` and `embed_items` (trainer.export).
          item_ids: distinct ids, in the order of `item_embeddings`.
          item_topics: topics of each item.
          item_embeddings: `[items, dim]` float32, finite.
          config: number of results, shares and merge rule.
          searcher: makes the searcher from the item variable. Who does not keep the
            variable (an index with vectors of its own) does not have it saved.
          attributes: what requests filter by (`config.filters`); None for no filters.
          newest: rows of the new items (`explore.newest_rows`) that `config.explore_share` of
            each list is for; None for no exploration.
          delta: file of `delta.write_delta` that says what differs from the index; None for a
            retriever that no delta can be given to.
          neighbours: a further source of candidates; None for none.
        """
        super().__init__(name="retriever")
        check_sizes(item_ids, item_topics, item_embeddings)
        self.embedding_model = embedding_model
        self.config = config
        self.item_ids = tf.Variable(np.asarray(item_ids, object), dtype=tf.string, trainable=False)
        self.row_table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(np.asarray(item_ids, object), tf.string),
                tf.range(len(item_ids), dtype=tf.int32),
            ),
            default_value=-1,
        )
        vectors = tf.Variable(np.asarray(item_embeddings, np.float32), trainable=False)
        self.delta = None
        if delta is not None:
            columns = config.filter_columns()
            self.delta = Delta(delta, len(item_ids), int(vectors.shape[1]), columns)
        within = TopicFilter(vectors, item_topics) if config.topic_filter else None
        filters = None
        if attributes is not None:
            filters = ItemFilters(len(item_ids), attributes, self.delta)
        self.neighbours = None if neighbours is None else Neighbours(neighbours)
        searches = self._searches(searcher(vectors), within)
        self.selector = Selector(config, *searches, filters, self.neighbours)
        self.explorer = None
        if newest is not None and config.explore_share > 0:
            self.explorer = Explorer(newest, config.explore_share)
        self._featured = featured.has_features(embedding_model)
        if self._featured:  # one input more
            self.retrieve = featured.make_retrieve(self, filtered=False)

    def _searches(
        self, search: Searcher, within: TopicFilter | None
    ) -> tuple[Searcher, TopicFilter | DeltaTopicFilter | None]:
        """Returns the searches of the catalogue and of topics, with the delta if there is one."""
        if self.delta is None:
            return search, within
        topics = None if within is None else DeltaTopicFilter(within, self.delta)
        return DeltaSearch(search, self.delta), topics

    @tf.function(
        autograph=False,
        input_signature=[*signature.USER_SPECS.values(), *signature.OPTION_SPECS.values()],
    )
    def retrieve(
        self,
        timestamp: tf.Tensor,
        history_item_id: tf.Tensor,
        history_timestamp: tf.Tensor,
        history_action: tf.Tensor,
        followed_topic: tf.Tensor,
        user_id: tf.Tensor = _NO_USER_ID,
        num_results: tf.Tensor = _NUM_RESULTS,
        use_implicit: tf.Tensor = _USE_IMPLICIT,
        use_explicit: tf.Tensor = _USE_EXPLICIT,
    ) -> dict[str, tf.Tensor]:
        """Returns each user's merged items.

        Each option is `[batch]`, or `[1]` for the whole batch.

        Args:
          timestamp: `[batch]` int64, now.
          history_item_id: `[batch, history]` string, newest first, '' pads.
          history_timestamp: `[batch, history]` int64, 0 pads.
          history_action: `[batch, history]` string, '' pads.
          followed_topic: `[batch, follows]` string, newest first, '' pads.
          user_id: string, given back; the model does not read it.
          num_results: int32, items wanted; 0 or less means `config.num_results`, more than
            `config.max_results` means that.
          use_implicit: bool, whether interests found in the history are searched.
          use_explicit: bool, whether followed topics are searched.

        Returns:
          `item_id`, `score`, `slot`, `slot_kind`, `slot_topic`, `found_by`, each
          `[batch, n]`, n being the largest number of items wanted in the batch
          ('' / 0 / -1 pads; see `merge.Merged`; an item of kind `NEIGHBOUR` has the id of the
          history item that brought it for `slot_topic`); `count` `[batch]`; `user_id` `[batch]`;
          `history_slot` `[batch, history]`; `slot_mass` and `slot_valid`, `[batch, slots]`.

        Raises:
          InvalidArgumentError: the three history inputs differ in shape, or an option is
            neither one value nor one per row.
        """
        user = {
            features.TIMESTAMP: timestamp,
            features.HISTORY_ITEM_ID: history_item_id,
            features.HISTORY_TIMESTAMP: history_timestamp,
            features.HISTORY_ACTION: history_action,
            features.FOLLOWED_TOPIC: followed_topic,
        }
        options = {
            signature.USER_ID: user_id,
            signature.NUM_RESULTS: num_results,
            signature.USE_IMPLICIT: use_implicit,
            signature.USE_EXPLICIT: use_explicit,
        }
        return self.answer(user, options)

    def answer(
        self,
        user: dict[str, tf.Tensor],
        options: dict[str, tf.Tensor],
        filters: dict[str, tf.Tensor] | None = None,
    ) -> dict[str, tf.Tensor]:
        """Returns what `retrieve` returns.

        Args:
          user: inputs of `signature.USER_SPECS`.
          options: inputs of `signature.OPTION_SPECS`.
          filters: inputs of `signature.FILTER_SPECS`; None for an unfiltered request.
        """
        user = checked(user)
        rows = tf.shape(user[features.TIMESTAMP])
        options = {name: tf.broadcast_to(value, rows) for name, value in options.items()}
        user_id = options.pop(signature.USER_ID)
        asked = None if filters is None else self.asked(rows[0], *filters.values())
        limit = self.limit(options.pop(signature.NUM_RESULTS))
        answer = self._answer(user, user_id, limit, **options, asked=asked)
        return {**answer, signature.USER_ID: user_id}

    def asked(
        self, rows: tf.Tensor, allow: tf.Tensor, deny: tf.Tensor, filter_: tf.Tensor
    ) -> RequestedFilters:
        """Reads the filter inputs, `[rows, any]` or `[1, any]` string each.

        Raises:
          InvalidArgumentError: a condition that is not understood.
        """
        given = [
            tf.broadcast_to(each, tf.stack([rows, tf.shape(each)[1]]))
            for each in (allow, deny, filter_)
        ]
        filters = self.selector.item_filters
        if filters is None:
            raise ExportError("this retriever has no filters: give it the items' attributes")
        return filters.asked(self.rows_of, *given)

    def rows_of(self, item_id: tf.Tensor) -> tf.Tensor:
        """Returns the rows of items, int32 of the same shape; -1 for those that are not known."""
        rows = self.row_table.lookup(item_id)
        return rows if self.delta is None else self.delta.rows_of(item_id, rows)

    def ids_of(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the ids of rows, string of the same shape; of row 0 for -1."""
        rows = tf.maximum(rows, 0)
        if self.delta is None:
            return tf.gather(self.item_ids, rows)
        return self.delta.ids_of(rows, self.item_ids)

    def limit(self, num_results: tf.Tensor) -> tf.Tensor:
        """Returns the number of items that each row gets, `[batch]` int32."""
        return list_length(num_results, self.config)

    def _answer(
        self,
        user: dict[str, tf.Tensor],
        user_id: tf.Tensor,
        limit: tf.Tensor,
        use_implicit: tf.Tensor,
        use_explicit: tf.Tensor,
        asked: RequestedFilters | None,
    ) -> dict[str, tf.Tensor]:
        slots = self.embedding_model.embed_user(**user)
        wanted = self._wanted(user, slots, limit, use_implicit, use_explicit)
        wanted = wanted._replace(asked=asked)
        merged, explored = self.selector.select(wanted), None
        if self.explorer is not None:
            said = {**user, signature.USER_ID: user_id}
            merged, explored = self.explorer.mixed(merged, wanted, said, self.selector)
        picked = tf.maximum(merged.slot, 0)
        pads = merged.row < 0
        ids = self.ids_of(merged.row)
        topic = tf.gather(slots["slot_topic"], picked, batch_dims=1)
        kind = tf.gather(slots["slot_kind"], picked, batch_dims=1)
        if explored is not None:
            kind = tf.where(explored, EXPLORED, kind)
            topic = tf.where(explored, tf.zeros_like(topic), topic)
        if self.neighbours is not None:
            place = self.neighbours.sources(wanted, tf.where(merged.found_by > 0, -1, merged.row))
            brought = (place >= 0) & ~pads
            kind = tf.where(brought, NEIGHBOUR, kind)
            history = tf.pad(user[features.HISTORY_ITEM_ID], [[0, 0], [0, 1]])
            source = tf.gather(history, tf.maximum(place, 0), batch_dims=1)
            topic = tf.where(brought, source, topic)
        return {
            "item_id": tf.where(pads, tf.zeros_like(ids), ids),
            "score": merged.score,
            "slot": merged.slot,
            "slot_kind": tf.where(pads, -tf.ones_like(kind), kind),
            "slot_topic": tf.where(pads, tf.zeros_like(topic), topic),
            "found_by": merged.found_by,
            "count": merged.count,
            "history_slot": slots["history_slot"],
            "slot_mass": slots["mass"],
            "slot_valid": wanted.valid,
        }

    def _wanted(
        self,
        user: dict[str, tf.Tensor],
        slots: dict[str, tf.Tensor],
        limit: tf.Tensor,
        use_implicit: tf.Tensor,
        use_explicit: tf.Tensor,
    ) -> SearchedSlots:
        history = self.rows_of(user[features.HISTORY_ITEM_ID])
        feeds = (slots["history_slot"] >= 0) & use_implicit[:, None]
        return SearchedSlots(
            vectors=slots["embeddings"],
            topic=slots["slot_topic"],
            kind=slots["slot_kind"],
            mass=slots["mass"],
            valid=searched_slots(slots, use_implicit, use_explicit),
            seen=history if self.config.exclude_seen else tf.fill(tf.shape(history), -1),
            limit=limit,
            sources=tf.where(feeds, history, -1),
        )

    def signatures(self) -> dict[str, Any]:
        """Returns the signatures of the SavedModel, `retrieve` being the default."""
        if self._featured:
            found = dict.fromkeys(("serving_default", signature.RETRIEVE), self.retrieve)
            return {**found, **featured.make_signatures(self, checked)}

        @tf.function(
            autograph=False, input_signature=[tf.TensorSpec([None], tf.string, signature.EXAMPLES)]
        )
        def retrieve_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            user, options = signature.parse_examples(examples)
            return self.retrieve(**user, **options)

        @tf.function(autograph=False, input_signature=[signature.USER_SPECS])
        def embed_user(user: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return dict(self.embedding_model.embed_user(**checked(user)))

        @tf.function(autograph=False, input_signature=[signature.ITEM_SPECS])
        def embed_items(items: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return dict(self.embedding_model.embed_items(**items))

        found = {
            "serving_default": self.retrieve,
            signature.RETRIEVE: self.retrieve,
            signature.RETRIEVE_EXAMPLES: retrieve_examples,
            signature.EMBED_USER: embed_user,
            signature.EMBED_ITEMS: embed_items,
            signature.SIMILAR_ITEMS: similar.make_signature(self),
            signature.SCORE_ITEMS: score.make_signature(self, checked),
        }
        if self.selector.item_filters is not None:
            found[signature.RETRIEVE_FILTERED] = filtered.make_signature(self)
            found[signature.SIMILAR_FILTERED] = similar.make_filtered(self)
        return found


def check_sizes(
    item_ids: Sequence[bytes], item_topics: Sequence[Sequence[bytes]], item_embeddings: np.ndarray
) -> None:
    """Refuses a catalogue whose parts are not of the same items."""
    if len(item_ids) != len(item_embeddings) or len(item_ids) != len(item_topics):
        raise ExportError(
            f"the retriever got {len(item_ids)} ids, {len(item_topics)} topic lists and "
            f"{len(item_embeddings)} vectors: they must be the same items in the same order"
        )


def list_length(num_results: tf.Tensor, config: RetrievalConfig) -> tf.Tensor:
    """Returns the number of items that each row gets, `[batch]` int32."""
    wanted = tf.where(num_results > 0, num_results, config.num_results)
    return tf.minimum(wanted, config.max_results)


def searched_slots(
    slots: dict[str, tf.Tensor], use_implicit: tf.Tensor, use_explicit: tf.Tensor
) -> tf.Tensor:
    """Returns which slots of `embed_user` are searched, `[batch, slots]` bool.

    Args:
      slots: outputs of `embed_user`.
      use_implicit: `[batch]` bool.
      use_explicit: `[batch]` bool.
    """
    finite = tf.reduce_all(tf.math.is_finite(slots["embeddings"]), axis=2)
    explicit = tf.equal(slots["slot_kind"], EXPLICIT)
    chosen = tf.where(explicit, use_explicit[:, None], use_implicit[:, None])
    return slots["slot_valid"] & finite & chosen


def checked(user: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Refuses a request whose parts cannot belong together."""
    shape = tf.shape(user[features.HISTORY_ITEM_ID])
    alike = [
        tf.debugging.assert_equal(
            tf.shape(user[name]),
            shape,
            f"{name} and {features.HISTORY_ITEM_ID} must have the same shape",
        )
        for name in (features.HISTORY_TIMESTAMP, features.HISTORY_ACTION)
    ]
    one_row_each = [
        tf.debugging.assert_equal(
            tf.shape(user[name])[0],
            tf.size(user[features.TIMESTAMP]),
            f"{name} and {features.TIMESTAMP} must have the same number of rows",
        )
        for name in (features.HISTORY_ITEM_ID, features.FOLLOWED_TOPIC)
    ]
    with tf.control_dependencies([*alike, *one_row_each]):
        return {name: tf.identity(value) for name, value in user.items()}


def save_retriever(retriever: Retriever, path: str) -> None:
    """Writes a SavedModel that needs nothing of this project.

    ScaNN's ops, where the retriever searches with them, must be registered by
    whoever loads it (`search.load_scann_ops`).
    """
    options = save_options(retriever.selector.searcher)
    tf.saved_model.save(retriever, path, signatures=retriever.signatures(), options=options)
