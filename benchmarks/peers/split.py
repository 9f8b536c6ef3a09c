"""The exported split: item indices in NumPy arrays, for any library to train on.

Imports nothing but NumPy: it runs in our environment and in the peers'.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

SPLITS = ("train", "validation", "eval")


@dataclass(frozen=True)
class Part:
    """Examples of one split.

    Attributes:
      user: `[examples]` int64 user index from 1.
      history: `[examples, length]` int64 item indices, newest first, 0 pads.
      target: `[examples]` int64 item index.
    """

    user: np.ndarray
    history: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class PeerSplit:
    """All examples; items are numbered from 1 in the order of the sorted ids.

    Attributes:
      parts: by split.
      users: number of users.
      items: number of items.
    """

    parts: dict[str, Part]
    users: int
    items: int


def save_split(split: PeerSplit, stream: BinaryIO) -> None:
    """Writes a split as the content of one `.npz` file."""
    arrays = {
        f"{name}_{field}": getattr(part, field)
        for name, part in split.parts.items()
        for field in ("user", "history", "target")
    }
    np.savez(stream, users=split.users, items=split.items, **arrays)


def load_split(path: Path) -> PeerSplit:
    """Reads what `save_split` wrote."""
    with np.load(path) as data:
        parts = {
            name: Part(*(data[f"{name}_{field}"] for field in ("user", "history", "target")))
            for name in SPLITS
        }
        return PeerSplit(parts, int(data["users"]), int(data["items"]))
