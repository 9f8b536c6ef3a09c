"""Signature `retrieve_filtered`: `retrieve` among the items that the request allows."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainer import features
from trainer.retrieval import signature

SPECS = {**signature.USER_SPECS, **signature.OPTION_SPECS, **signature.FILTER_SPECS}


def make_signature(retriever: Any) -> Any:
    """Returns `retrieve_filtered` of a retriever as a function to save.

    Beside the inputs of `retrieve` it takes `allow_item_id` (the only items that may be
    brought), `deny_item_id` (items that are not brought) and `filter` (conditions, see
    `trainer.retrieval.filters`), string `[batch, any]` each, or `[1, any]` for the whole
    batch; '' pads, and nothing but pads filters nothing. What cannot be understood raises
    `InvalidArgumentError`.
    """

    @tf.function(autograph=False, input_signature=list(SPECS.values()))
    def retrieve_filtered(
        timestamp: tf.Tensor,
        history_item_id: tf.Tensor,
        history_timestamp: tf.Tensor,
        history_action: tf.Tensor,
        followed_topic: tf.Tensor,
        user_id: tf.Tensor = signature.default_option(signature.USER_ID),  # noqa: B008
        num_results: tf.Tensor = signature.default_option(signature.NUM_RESULTS),  # noqa: B008
        use_implicit: tf.Tensor = signature.default_option(signature.USE_IMPLICIT),  # noqa: B008
        use_explicit: tf.Tensor = signature.default_option(signature.USE_EXPLICIT),  # noqa: B008
        allow_item_id: tf.Tensor = signature.no_filter(),  # noqa: B008
        deny_item_id: tf.Tensor = signature.no_filter(),  # noqa: B008
        filter: tf.Tensor = signature.no_filter(),  # noqa: B008
    ) -> dict[str, tf.Tensor]:
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
        filters = {
            signature.ALLOW: allow_item_id,
            signature.DENY: deny_item_id,
            signature.FILTER: filter,
        }
        return retriever.answer(user, options, filters)

    return retrieve_filtered
