"""The served retriever of a bundle and what it answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.bundle.verify import VerifiedBundle
from components.index_builder.layout import INDEX_FILE, SCANN_RETRIEVER
from core.files import read_json

#: Outputs of `retrieve` that an `Retrieved` is made from.
OUTPUTS = (
    "item_id", "score", "slot", "slot_kind", "slot_topic", "found_by", "count", "history_slot",
    "slot_mass", "slot_valid",
)  # fmt: skip


@dataclass(frozen=True)
class Retrieved:
    """What `retrieve` returned for one user, pads removed.

    Attributes:
      item_id: ids, best first.
      score: float32.
      slot: int, the slot that brought the item.
      slot_kind: int, 0 implicit, 1 explicit, 2 explored (a new item), 3 neighbour (of a history
        item).
      slot_topic: topic of an explicit slot, the history item that brought a neighbour, '' else.
      found_by: all slots that had the item among their first results.
      history_slot: slot that each history item feeds, -1 for none.
      slot_mass: share of the history that each slot holds.
      slot_valid: whether a slot was asked.
    """

    item_id: list[str]
    score: list[float]
    slot: list[int]
    slot_kind: list[int]
    slot_topic: list[str]
    found_by: list[list[int]]
    history_slot: list[int]
    slot_mass: list[float]
    slot_valid: list[bool]


def served_folder(bundle: VerifiedBundle) -> Path:
    """Returns the folder of the SavedModel that the index says is served."""
    serve = read_json(bundle.path / INDEX_FILE)["serve"]
    return bundle.path / serve if serve == SCANN_RETRIEVER else bundle.path


def actions(bundle: Path) -> list[str]:
    """Returns the actions of the training data, the most frequent first; none if not known."""
    path = bundle / "warm_start" / "vocabulary" / "actions.txt"
    if not path.exists():
        return []
    names = path.read_bytes().decode("utf-8", "replace").split("\n")
    return [name for name in names if name]


def answer_of(outputs: Mapping[str, np.ndarray], row: int = 0) -> Retrieved:
    """Returns what `retrieve` said to one user of the batch.

    Args:
      outputs: of the signature, `[batch, ...]` each; strings are bytes.
      row: of the batch.
    """
    arrays = {name: np.asarray(outputs[name])[row] for name in OUTPUTS}
    n = int(arrays["count"])
    return Retrieved(
        item_id=_texts(arrays["item_id"][:n]),
        score=arrays["score"][:n].astype(float).tolist(),
        slot=arrays["slot"][:n].tolist(),
        slot_kind=arrays["slot_kind"][:n].tolist(),
        slot_topic=_texts(arrays["slot_topic"][:n]),
        found_by=[_slots(bits) for bits in arrays["found_by"][:n].tolist()],
        history_slot=arrays["history_slot"].tolist(),
        slot_mass=arrays["slot_mass"].astype(float).tolist(),
        slot_valid=arrays["slot_valid"].tolist(),
    )


def _slots(bits: int) -> list[int]:
    """Returns the numbers of the bits that are set, of a signed 64-bit number."""
    return [slot for slot in range(64) if bits >> slot & 1]


def _texts(values: Any) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]


def quiet() -> None:
    """Keeps TensorFlow from printing what is no error."""
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
