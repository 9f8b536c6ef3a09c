"""Check that ids and vectors belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from components.index_builder.catalogue import Catalogue
from core.errors import IndexQualityError
from trainer import features
from trainer.retrieval.search import ExactSearch

_TOLERANCE = 1e-3


def check_alignment(model: Any, catalogue: Catalogue, sample: int = 512) -> int:
    """Embeds some items again by id and looks them up: each must find itself first.

    Vectors are compared by direction, so that models without normalisation pass
    too. An item with the very vector of another (two unknown items without
    topics) may find that one.

    Args:
      model: has `embed_items`.
      catalogue: what the index is built from.
      sample: items checked, spread over the catalogue.

    Returns:
      The number of items checked.

    Raises:
      IndexQualityError: names the first items that found another one.
    """
    count = min(sample, len(catalogue.ids))
    rows = np.unique(np.linspace(0, len(catalogue.ids) - 1, count).astype(int))
    given = {features.ITEM_ID: tf.constant([catalogue.ids[row] for row in rows], tf.string)}
    given[features.ITEM_TOPICS] = _matrix([catalogue.topics[row] for row in rows])
    if catalogue.values is not None:
        given[features.ITEM_VALUES] = _matrix([catalogue.values[row] for row in rows])
    again = model.embed_items(**given)["embeddings"].numpy()
    search = ExactSearch(tf.Variable(_unit(catalogue.embeddings), trainable=False))
    found, scores = search.search(tf.constant(_unit(again)), tf.constant(1))
    own = np.sum(_unit(again) * _unit(catalogue.embeddings[rows]), axis=1)
    lost = np.flatnonzero((found.numpy()[:, 0] != rows) & (scores.numpy()[:, 0] > own + _TOLERANCE))
    if len(lost):
        pairs = ", ".join(
            f"{catalogue.ids[rows[i]]!r} found {catalogue.ids[found.numpy()[i, 0]]!r}"
            for i in lost[:3]
        )
        raise IndexQualityError(
            f"{len(lost)} of {len(rows)} items do not find themselves in the index ({pairs}): "
            "ids and vectors are out of step"
        )
    return len(rows)


def _matrix(texts: list[list[bytes]]) -> tf.Tensor:
    width = max([1, *map(len, texts)])
    return tf.constant([[*row, *[b""] * (width - len(row))] for row in texts], tf.string)


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
