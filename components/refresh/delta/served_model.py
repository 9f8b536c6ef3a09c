"""The SavedModel that is served: it embeds the new items, and shows that they are found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.index_builder.catalogue import check_catalogue
from components.refresh.catalogue_gen.sample_requests import request_examples
from components.requests import user_request
from components.serving_validator.layout import REQUESTS_FILE
from core.errors import BundleError, IndexQualityError
from trainer import features
from trainer.retrieval import signature
from trainer.retrieval.search import load_scann_ops

#: Requests and items of each kind that are looked at before anything is published.
_SAMPLE = 32


def load_served(folder: Path, scann: bool) -> Any:
    """Loads a retriever with room for a delta.

    Args:
      folder: of the SavedModel.
      scann: whether it searches with ScaNN's ops.

    Raises:
      BundleError: it does not load, or has no such room.
    """
    if scann:
        load_scann_ops()
    try:
        model = tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises many kinds for a damaged SavedModel
        raise BundleError(f"{folder}: the SavedModel does not load: {error}") from error
    if getattr(model, "delta", None) is None:
        raise BundleError(
            f"{folder}: has no room for a delta; run the ordinary refresh once with "
            "`--set retrieval.delta=true`"
        )
    return model


def embed(
    model: Any, ids: Sequence[bytes], topics: Sequence[Sequence[bytes]], batch_size: int
) -> np.ndarray:
    """Returns the vectors of items, `[items, dim]` float32.

    Raises:
      IndexQualityError: a vector is not finite.
    """
    parts = [np.zeros((0, int(model.delta.vectors.shape[1])), np.float32)]
    for start in range(0, len(ids), batch_size):
        batch = topics[start : start + batch_size]
        width = max(1, *map(len, batch), 1)
        padded = [[*each, *[b""] * (width - len(each))] for each in batch]
        answer = model.embedding_model.embed_items(
            item_id=tf.constant(list(ids[start : start + batch_size]), tf.string),
            item_topics=tf.constant(padded, tf.string),
        )
        parts.append(answer["embeddings"].numpy())
    vectors = np.concatenate(parts)
    if len(ids):
        check_catalogue(list(ids), vectors)
    return vectors


def check_served(
    model: Any, version_dir: Path, there: Sequence[bytes], withdrawn: Sequence[bytes]
) -> None:
    """Asks the loaded model with a delta as users do.

    Args:
      model: has taken the delta over.
      version_dir: of the bundle with the sample requests.
      there: new and changed items.
      withdrawn: items that must not come any more.

    Raises:
      IndexQualityError: names the items that are not found, or found although they are gone.
    """
    user = _requests(version_dir)
    first = {name: value[:1] for name, value in user.items()}
    asked = [*_some(there), *_some(withdrawn)]
    pairs = signature.bind(model, signature.SCORE_ITEMS)(
        **{name: tf.constant(value) for name, value in first.items()},
        item_id=tf.constant([asked], tf.string, [1, len(asked)]),
    )
    known = pairs["known"].numpy()[0]
    expected = np.arange(len(asked)) < len(_some(there))
    shown = signature.bind(model, signature.RETRIEVE)(
        **{name: tf.constant(value) for name, value in user.items()}
    )["item_id"].numpy()
    wrong = [asked[place] for place in np.flatnonzero(known != expected)]
    wrong += sorted(set(shown.ravel().tolist()) & set(withdrawn))
    if wrong:
        names = ", ".join(repr(name.decode(errors="replace")) for name in wrong[:3])
        raise IndexQualityError(
            f"{len(wrong)} items of the delta are not served as they should be ({names}): nothing "
            "was published; run the ordinary refresh"
        )


def _some(names: Sequence[bytes]) -> list[bytes]:
    """Returns a sample that is spread over a list."""
    rows = np.unique(np.linspace(0, max(len(names) - 1, 0), min(_SAMPLE, len(names))).astype(int))
    return [names[row] for row in rows]


def _requests(version_dir: Path) -> dict[str, np.ndarray]:
    """Returns sample requests; without any in the bundle, that of a user without history."""
    path = version_dir / REQUESTS_FILE
    if path.is_file():
        batch = request_examples(path).slice(0, _SAMPLE)
        if batch.num_rows:
            return user_request(batch)
    nothing = np.full((1, 1), b"", object)
    return {
        features.TIMESTAMP: np.zeros(1, np.int64),
        features.HISTORY_ITEM_ID: nothing,
        features.HISTORY_TIMESTAMP: np.zeros((1, 1), np.int64),
        features.HISTORY_ACTION: nothing,
        features.FOLLOWED_TOPIC: nothing,
    }
