"""Signature `score_items`: what each user's slots say of given items."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from trainer import features
from trainer.retrieval import signature
from trainer.retrieval.budgets import EXPLICIT, IMPLICIT

CANDIDATES = features.ITEM_ID
SPECS = {
    **signature.USER_SPECS,
    CANDIDATES: tf.TensorSpec([None, None], tf.string, name=CANDIDATES),
}


def score_items(retriever: Any, user: dict[str, tf.Tensor], item_id: tf.Tensor) -> dict:
    """Returns the best slot of each pair, and the best score per kind of slot.

    A score is the dot product of a slot with the item's vector in the index, so that
    it equals the score which `retrieve` gives to the same item and slot.

    Args:
      retriever: a `Retriever`.
      user: the user inputs of `retrieve`.
      item_id: `[batch, items]` string, '' pads.

    Returns:
      `[batch, items]` each: `known` bool, `score` float32, `slot` int32 (-1 for pads, unknown
      items and users without a slot), `slot_kind` int32 (-1 likewise), `slot_topic` string,
      `implicit_score` and `explicit_score` float32. Scores that do not exist are 0;
      `has_implicit` and `has_explicit`, `[batch]` bool, say which kinds a user has.
    """
    slots = retriever.embedding_model.embed_user(**user)
    rows = retriever.rows_of(item_id)
    known = rows >= 0
    vectors = retriever.selector.searcher.vectors(tf.maximum(rows, 0))  # [batch, items, dim]
    scores = tf.einsum("bsd,bid->bis", slots["embeddings"], vectors)
    finite = tf.reduce_all(tf.math.is_finite(slots["embeddings"]), axis=2)
    valid = slots["slot_valid"] & finite
    best, slot = _best(scores, valid, known)
    there = slot >= 0
    picked = tf.maximum(slot, 0)
    kind = tf.gather(slots["slot_kind"], picked, batch_dims=1)
    topic = tf.gather(slots["slot_topic"], picked, batch_dims=1)
    answer = {
        "known": known,
        "score": best,
        "slot": slot,
        "slot_kind": tf.where(there, kind, -tf.ones_like(kind)),
        "slot_topic": tf.where(there, topic, tf.zeros_like(topic)),
    }
    for name, number in (("implicit", IMPLICIT), ("explicit", EXPLICIT)):
        of_kind = valid & tf.equal(slots["slot_kind"], number)
        answer[f"{name}_score"] = _best(scores, of_kind, known)[0]
        answer[f"has_{name}"] = tf.reduce_any(of_kind, axis=1)
    return answer


def make_signature(retriever: Any, checked: Any) -> Any:
    """Returns `score_items` of a retriever as a function to save.

    Args:
      retriever: a `Retriever`.
      checked: refuses user inputs that cannot belong together.
    """

    @tf.function(autograph=False, input_signature=[SPECS])
    def score(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        user = checked({name: inputs[name] for name in signature.USER_SPECS})
        return score_items(retriever, user, inputs[CANDIDATES])

    return score


def _best(scores: tf.Tensor, valid: tf.Tensor, known: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns score and number of the best valid slot, `[batch, items]` (0 and -1: none)."""
    usable = valid[:, None, :] & known[:, :, None]
    masked = tf.where(usable, scores, tf.fill(tf.shape(scores), np.float32(-np.inf)))
    there = tf.reduce_any(usable, axis=2)
    slot = tf.argmax(masked, axis=2, output_type=tf.int32)
    best = tf.reduce_max(masked, axis=2)
    return tf.where(there, best, tf.zeros_like(best)), tf.where(there, slot, -tf.ones_like(slot))
