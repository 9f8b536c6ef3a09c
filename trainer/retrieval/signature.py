"""The serving contract: names, dtypes and shapes of requests, and their defaults.

Options have defaults in the SavedModel itself (`SignatureDef.defaults`, and
placeholders that carry them), so that a request may leave them out: TensorFlow
Serving and TF1 sessions fill them in. `tf.saved_model.load(...).signatures` does
not; `bind` closes that gap for Python callers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from core.errors import BundleError
from trainer import features

#: Options of a request. One value may stand for the whole batch.
USER_ID = features.USER_ID
NUM_RESULTS = "num_results"
USE_IMPLICIT = "use_implicit"
USE_EXPLICIT = "use_explicit"
OPTION_DEFAULTS: dict[str, Any] = {
    USER_ID: b"",
    NUM_RESULTS: 0,
    USE_IMPLICIT: True,
    USE_EXPLICIT: True,
}
OPTION_DTYPES = {
    USER_ID: tf.string,
    NUM_RESULTS: tf.int32,
    USE_IMPLICIT: tf.bool,
    USE_EXPLICIT: tf.bool,
}

#: Input of the signature on serialised `tf.Example` protos.
EXAMPLES = "examples"

#: Filters of a request, inputs of the filtered signatures; lists of texts, '' pads.
ALLOW = "allow_item_id"
DENY = "deny_item_id"
FILTER = "filter"

RETRIEVE = "retrieve"
RETRIEVE_FILTERED = "retrieve_filtered"
RETRIEVE_EXAMPLES = "retrieve_examples"
EMBED_USER = "embed_user"
EMBED_ITEMS = "embed_items"
SIMILAR_ITEMS = "similar_items"
SIMILAR_FILTERED = "similar_items_filtered"
SCORE_ITEMS = "score_items"
SIGNATURES = (RETRIEVE, RETRIEVE_EXAMPLES, EMBED_USER, EMBED_ITEMS, SIMILAR_ITEMS, SCORE_ITEMS)
#: Signatures that a retriever has where `retrieval.filters` names columns.
FILTERED_SIGNATURES = (RETRIEVE_FILTERED, SIMILAR_FILTERED)

USER_SPECS = {
    features.TIMESTAMP: tf.TensorSpec([None], tf.int64, name=features.TIMESTAMP),
    features.HISTORY_ITEM_ID: tf.TensorSpec([None, None], tf.string, name=features.HISTORY_ITEM_ID),
    features.HISTORY_TIMESTAMP: tf.TensorSpec(
        [None, None], tf.int64, name=features.HISTORY_TIMESTAMP
    ),
    features.HISTORY_ACTION: tf.TensorSpec([None, None], tf.string, name=features.HISTORY_ACTION),
    features.FOLLOWED_TOPIC: tf.TensorSpec([None, None], tf.string, name=features.FOLLOWED_TOPIC),
}
OPTION_SPECS = {
    name: tf.TensorSpec([None], dtype, name=name) for name, dtype in OPTION_DTYPES.items()
}
FILTER_SPECS = {
    name: tf.TensorSpec([None, None], tf.string, name=name) for name in (ALLOW, DENY, FILTER)
}
ITEM_SPECS = {
    features.ITEM_ID: tf.TensorSpec([None], tf.string, name=features.ITEM_ID),
    features.ITEM_TOPICS: tf.TensorSpec([None, None], tf.string, name=features.ITEM_TOPICS),
}


def default_option(name: str) -> tf.Tensor:
    """Returns the default of an option, `[1]`."""
    return tf.constant([OPTION_DEFAULTS[name]], OPTION_DTYPES[name])


def no_filter() -> tf.Tensor:
    """Returns the default of each filter input, `[1, 1]`: nothing but a pad."""
    return tf.constant([[b""]], tf.string)


def bind(model: Any, name: str) -> Callable[..., dict[str, tf.Tensor]]:
    """Returns a signature of a loaded SavedModel as a function whose options may be left out.

    Args:
      model: what `tf.saved_model.load` returned; kept alive by the result.
      name: of the signature.

    Raises:
      BundleError: the model has no such signature.
    """
    if name not in model.signatures:
        names = ", ".join(sorted(model.signatures))
        raise BundleError(f"no signature `{name}`, only: {names or 'none'}")
    signature = model.signatures[name]
    inputs = signature.structured_input_signature[1]
    left_out = {option: default_option(option) for option in OPTION_DEFAULTS if option in inputs}
    texts = (*FILTER_SPECS, *features.VALUE_FEATURES)
    left_out |= {name: no_filter() for name in texts if name in inputs}

    def call(**given: Any) -> dict[str, tf.Tensor]:
        # A model without features, a baseline for instance, is asked the same requests.
        strange = set(features.VALUE_FEATURES) - inputs.keys()
        return signature(**{**left_out, **{k: v for k, v in given.items() if k not in strange}})

    call.model = model  # type: ignore[attr-defined]  # its variables live as long as the result
    return call


def parse_examples(examples: tf.Tensor) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """Parses serialised `tf.Example` protos into a request.

    Features carry the names of the dense inputs: lists as long as they are,
    options as single values (`use_implicit` and `use_explicit` as 0 or 1).
    `timestamp` must be there; a shorter list of times or actions is padded.

    Args:
      examples: `[batch]` string.

    Returns:
      `(user, options)`: the inputs of `retrieve` by name.
    """
    single, many = tf.io.FixedLenFeature, tf.io.VarLenFeature
    parsed = tf.io.parse_example(
        examples,
        {
            features.TIMESTAMP: single([], tf.int64),
            features.HISTORY_ITEM_ID: many(tf.string),
            features.HISTORY_TIMESTAMP: many(tf.int64),
            features.HISTORY_ACTION: many(tf.string),
            features.FOLLOWED_TOPIC: many(tf.string),
            USER_ID: single([], tf.string, OPTION_DEFAULTS[USER_ID]),
            NUM_RESULTS: single([], tf.int64, OPTION_DEFAULTS[NUM_RESULTS]),
            USE_IMPLICIT: single([], tf.int64, int(OPTION_DEFAULTS[USE_IMPLICIT])),
            USE_EXPLICIT: single([], tf.int64, int(OPTION_DEFAULTS[USE_EXPLICIT])),
        },
    )
    user = {features.TIMESTAMP: parsed[features.TIMESTAMP]}
    for name in USER_SPECS:
        if name != features.TIMESTAMP:
            user[name] = tf.sparse.to_dense(parsed[name])
    length = tf.shape(user[features.HISTORY_ITEM_ID])[1]
    for name in (features.HISTORY_TIMESTAMP, features.HISTORY_ACTION):
        missing = tf.maximum(length - tf.shape(user[name])[1], 0)
        user[name] = tf.pad(user[name], [[0, 0], [0, missing]])[:, :length]
    options = {name: tf.cast(parsed[name], dtype) for name, dtype in OPTION_DTYPES.items()}
    return user, options
