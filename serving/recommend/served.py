"""The served retriever of a bundle and its catalogue."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.bundle.verify import Bundle
from components.index_builder.layout import INDEX_FILE, ITEMS_FILE, SCANN_RETRIEVER
from core.errors import BundleError
from core.files import read_json
from serving.recommend.question import Question

_OUTPUTS = ("item_id", "score", "slot", "slot_kind", "slot_topic", "count", "history_slot")
_SLOTS = ("slot_mass", "slot_valid")


@dataclass(frozen=True)
class Answer:
    """What `retrieve` returned for one user, pads removed.

    Attributes:
      item_id: ids, best first.
      score: float32.
      slot: int, the slot that brought the item.
      slot_kind: int, 0 implicit, 1 explicit.
      slot_topic: topic of an explicit slot, '' else.
      history_slot: slot that each history item feeds, -1 for none.
      slot_mass: share of the history that each slot holds.
      slot_valid: whether a slot was asked.
    """

    item_id: list[str]
    score: list[float]
    slot: list[int]
    slot_kind: list[int]
    slot_topic: list[str]
    history_slot: list[int]
    slot_mass: list[float]
    slot_valid: list[bool]


def ask(bundle: Bundle, question: Question) -> Answer:
    """Sends one request through the bundle's served graph.

    Raises:
      BundleError: the SavedModel does not load or does not answer.
    """
    _quiet()
    import tensorflow as tf

    from components.evaluator.replay import load_signature

    scann = served_folder(bundle) != bundle.path
    retrieve = load_signature(served_folder(bundle), scann)
    try:
        given = retrieve(**{k: tf.constant(v) for k, v in question.arrays().items()})
        arrays = {name: given[name].numpy()[0] for name in (*_OUTPUTS, *_SLOTS)}
    except (TypeError, ValueError, KeyError, tf.errors.OpError) as error:
        raise BundleError(f"{bundle.path}: `retrieve` does not answer: {error}") from error
    return _answer(arrays)


def served_folder(bundle: Bundle) -> Path:
    """Returns the folder of the SavedModel that the index says is served."""
    serve = read_json(bundle.path / INDEX_FILE)["serve"]
    return bundle.path / serve if serve == SCANN_RETRIEVER else bundle.path


def item_topics(bundle: Bundle) -> dict[str, list[str]]:
    """Returns the catalogue: item id -> topics."""
    import pyarrow.parquet as pq

    table = pq.read_table(bundle.path / ITEMS_FILE, columns=["item_id", "topics"])
    pairs = zip(table["item_id"].to_pylist(), table["topics"].to_pylist(), strict=True)
    return {item: topics or [] for item, topics in pairs}


def usual_action(bundle: Bundle) -> str:
    """Returns the most frequent action of the training data, '' when it is not known."""
    path = bundle.path / "warm_start" / "vocabulary" / "actions.txt"
    if not path.exists():
        return ""
    return path.read_bytes().split(b"\n", 1)[0].decode("utf-8", "replace")


def _answer(arrays: dict[str, np.ndarray]) -> Answer:
    n = int(arrays["count"])
    return Answer(
        item_id=_texts(arrays["item_id"][:n]),
        score=arrays["score"][:n].astype(float).tolist(),
        slot=arrays["slot"][:n].tolist(),
        slot_kind=arrays["slot_kind"][:n].tolist(),
        slot_topic=_texts(arrays["slot_topic"][:n]),
        history_slot=arrays["history_slot"].tolist(),
        slot_mass=arrays["slot_mass"].astype(float).tolist(),
        slot_valid=arrays["slot_valid"].tolist(),
    )


def _texts(values: Any) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]


def _quiet() -> None:
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
