"""Signatures of a model with features: the same, with one input more each.

`user_features` (of `retrieve` and whatever else reads a user) and `item_features` (of
`embed_items` and `similar_items`) are string `[batch, any]`, texts `name=value`, '' pads;
`[1, any]` stands for the whole batch, and left out they say that nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from trainer import features
from trainer.inputs_by_name import with_inputs
from trainer.retrieval import score, signature, similar

SPECS = {
    name: tf.TensorSpec([None, None], tf.string, name=name) for name in features.VALUE_FEATURES
}
_USER = {**signature.USER_SPECS, features.USER_VALUES: SPECS[features.USER_VALUES]}
_ITEM = {**signature.ITEM_SPECS, features.ITEM_VALUES: SPECS[features.ITEM_VALUES]}
#: In the order of the parameters: what must be given comes first.
_RETRIEVE = {
    **signature.USER_SPECS,
    **signature.OPTION_SPECS,
    features.USER_VALUES: SPECS[features.USER_VALUES],
}
_SIMILAR = {**similar.SPECS, features.ITEM_VALUES: SPECS[features.ITEM_VALUES]}


def has_features(embedding_model: Any) -> bool:
    """Returns whether `embed_user` of a model, saved or not, takes features."""
    specs = getattr(embedding_model.embed_user, "input_signature", None) or ()
    return any(spec.name == features.USER_VALUES for spec in specs)


def make_retrieve(retriever: Any, filtered: bool) -> Any:
    """Returns `retrieve`, or `retrieve_filtered`, as a function to save."""

    def answer(given: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        options = {name: given[name] for name in signature.OPTION_SPECS}
        filters = {name: given[name] for name in signature.FILTER_SPECS} if filtered else None
        return dict(retriever.answer(_of(given, _USER), options, filters))

    further = signature.FILTER_SPECS if filtered else {}
    return _with_defaults(answer, {**_RETRIEVE, **further})


def make_signatures(
    retriever: Any, checked: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]
) -> dict[str, Any]:
    """Returns the signatures of a retriever but for `retrieve` and what asks it.

    Args:
      retriever: a `Retriever`.
      checked: refuses user inputs that cannot belong together.
    """
    model = retriever.embedding_model

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None], tf.string, signature.EXAMPLES)]
    )
    def retrieve_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        user, options = signature.parse_examples(examples)
        name = features.USER_VALUES
        parsed = tf.io.parse_example(examples, {name: tf.io.VarLenFeature(tf.string)})
        user[name] = tf.sparse.to_dense(parsed[name])
        return dict(retriever.answer(user, options))

    def embed_user(given: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return dict(model.embed_user(**checked(_of(given, _USER))))

    def embed_items(given: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return dict(model.embed_items(**_of(given, _ITEM)))

    def score_items(given: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        user = checked(_of(given, _USER))
        return dict(score.score_items(retriever, user, given[score.CANDIDATES]))

    found = {
        signature.RETRIEVE_EXAMPLES: retrieve_examples,
        signature.EMBED_USER: _with_defaults(embed_user, _USER),
        signature.EMBED_ITEMS: _with_defaults(embed_items, _ITEM),
        signature.SCORE_ITEMS: _with_defaults(
            score_items, {**score.SPECS, features.USER_VALUES: SPECS[features.USER_VALUES]}
        ),
        signature.SIMILAR_ITEMS: _make_similar(retriever, filtered=False),
    }
    if retriever.selector.item_filters is not None:
        found[signature.RETRIEVE_FILTERED] = make_retrieve(retriever, filtered=True)
        found[signature.SIMILAR_FILTERED] = _make_similar(retriever, filtered=True)
    return found


def _make_similar(retriever: Any, filtered: bool) -> Any:
    def answer(given: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        items = _of(given, _ITEM)
        rows = tf.shape(items[features.ITEM_ID])
        limit = retriever.limit(tf.broadcast_to(given[signature.NUM_RESULTS], rows))
        asked = None
        if filtered:
            asked = retriever.asked(rows[0], *(given[name] for name in signature.FILTER_SPECS))
        return dict(similar.similar_items(retriever, items, limit, asked))

    return _with_defaults(answer, {**_SIMILAR, **(signature.FILTER_SPECS if filtered else {})})


def _of(given: Mapping[str, tf.Tensor], specs: Mapping[str, tf.TensorSpec]) -> dict[str, tf.Tensor]:
    """Returns the inputs of a user, or of an item, with a row of features for each."""
    found = {name: given[name] for name in specs}
    rows = tf.shape(next(iter(found.values())))[0]
    for name in SPECS.keys() & found.keys():
        width = tf.shape(found[name])[1]
        found[name] = tf.broadcast_to(found[name], tf.stack([rows, width]))
    return found


def _with_defaults(
    body: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]], specs: Mapping[str, tf.TensorSpec]
) -> Any:
    optional = {**signature.OPTION_SPECS, **signature.FILTER_SPECS, **SPECS}
    defaults = {
        name: signature.default_option(name)
        if name in signature.OPTION_SPECS
        else signature.no_filter()
        for name in specs
        if name in optional
    }
    return with_inputs(body, specs, defaults)
