"""Signature `similar_items`: the neighbours of an item, in the catalogue or described by topics."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainer import features
from trainer.retrieval import signature
from trainer.retrieval.allowed import search_allowed
from trainer.retrieval.filters import RequestedFilters

SPECS = {
    **signature.ITEM_SPECS,
    signature.NUM_RESULTS: signature.OPTION_SPECS[signature.NUM_RESULTS],
}


def similar_items(
    retriever: Any,
    items: dict[str, tf.Tensor],
    limit: tf.Tensor,
    asked: RequestedFilters | None = None,
) -> dict:
    """Returns the nearest items of each item, itself left out.

    A known item is searched with the vector that the index holds, any other with
    what the item tower makes of its topics.

    Args:
      retriever: a `Retriever`.
      items: `item_id` `[batch]` and `item_topics` `[batch, topics]` string, '' pads.
      limit: `[batch]` int32, neighbours wanted.
      asked: filters of the neighbours; None for none.

    Returns:
      `item_id` `[batch, n]` string ('' pads), `score` `[batch, n]` float32 (0 pads),
      `count` `[batch]` int32 and `known` `[batch]` bool; n is the largest limit.
    """
    own = retriever.rows_of(items[features.ITEM_ID])
    known = own >= 0
    queries = _vectors(retriever, items, own)
    finite = tf.reduce_all(tf.math.is_finite(queries), axis=1)
    queries = tf.where(finite[:, None], queries, tf.zeros_like(queries))
    most = tf.reduce_max(tf.pad(limit, [[0, 1]]))
    rows, scores = _search(retriever, queries, most + 1, asked)
    wanted = (rows >= 0) & tf.not_equal(rows, own[:, None]) & finite[:, None]
    if asked is not None:
        denied = tf.equal(rows[:, :, None], asked.deny[:, None, :])
        wanted &= ~tf.reduce_any(denied, axis=2)
    # Stable: what is wanted comes first, in its order.
    order = tf.argsort(tf.cast(~wanted, tf.int32), axis=1, stable=True)[:, :most]
    count = tf.minimum(tf.reduce_sum(tf.cast(wanted, tf.int32), axis=1), limit)
    there = tf.sequence_mask(count, tf.shape(order)[1])
    rows = tf.gather(rows, order, batch_dims=1)
    scores = tf.gather(scores, order, batch_dims=1)
    ids = retriever.ids_of(rows)
    return {
        "item_id": tf.where(there, ids, tf.zeros_like(ids)),
        "score": tf.where(there, scores, tf.zeros_like(scores)),
        "count": count,
        "known": known,
    }


def make_signature(retriever: Any) -> Any:
    """Returns `similar_items` of a retriever as a function to save."""

    @tf.function(autograph=False, input_signature=list(SPECS.values()))
    def similar(
        item_id: tf.Tensor,
        item_topics: tf.Tensor,
        num_results: tf.Tensor = signature.default_option(signature.NUM_RESULTS),  # noqa: B008
    ) -> dict[str, tf.Tensor]:
        items = {features.ITEM_ID: item_id, features.ITEM_TOPICS: item_topics}
        limit = retriever.limit(tf.broadcast_to(num_results, tf.shape(item_id)))
        return similar_items(retriever, items, limit)

    return similar


def make_filtered(retriever: Any) -> Any:
    """Returns `similar_items_filtered`, the same with filters, as a function to save."""

    @tf.function(
        autograph=False, input_signature=[*SPECS.values(), *signature.FILTER_SPECS.values()]
    )
    def similar(
        item_id: tf.Tensor,
        item_topics: tf.Tensor,
        num_results: tf.Tensor = signature.default_option(signature.NUM_RESULTS),  # noqa: B008
        allow_item_id: tf.Tensor = signature.no_filter(),  # noqa: B008
        deny_item_id: tf.Tensor = signature.no_filter(),  # noqa: B008
        filter: tf.Tensor = signature.no_filter(),  # noqa: B008
    ) -> dict[str, tf.Tensor]:
        items = {features.ITEM_ID: item_id, features.ITEM_TOPICS: item_topics}
        rows = tf.shape(item_id)[0]
        asked = retriever.asked(rows, allow_item_id, deny_item_id, filter)
        limit = retriever.limit(tf.broadcast_to(num_results, [rows]))
        return similar_items(retriever, items, limit, asked)

    return similar


def _search(
    retriever: Any, queries: tf.Tensor, k: tf.Tensor, asked: RequestedFilters | None
) -> tuple[tf.Tensor, tf.Tensor]:
    searcher = retriever.selector.searcher
    if asked is None:
        return searcher.search(queries, k)
    k += tf.shape(asked.deny)[1]

    def found(where: tf.Tensor, allowed: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        part = tf.gather_nd(queries, where)
        if allowed is None:
            return searcher.search(part, k)
        return search_allowed(searcher, part, k, allowed)

    return retriever.selector.item_filters.searched(asked, found, 2)


def _vectors(retriever: Any, items: dict[str, tf.Tensor], own: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, dim]`; the item tower runs for unknown items only."""
    stored = retriever.selector.searcher.vectors(tf.maximum(own, 0))
    strange = tf.where(own < 0)

    def with_new() -> tf.Tensor:
        part = {name: tf.gather_nd(value, strange) for name, value in items.items()}
        made = retriever.embedding_model.embed_items(**part)["embeddings"]
        return tf.tensor_scatter_nd_update(stored, strange, made)

    return tf.cond(tf.size(strange) > 0, with_new, lambda: stored)
