"""Exports the split of a run configuration from our own raw examples."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.peers.split import SPLITS, Part, PeerSplit
from components.examples_io import padded, read_split
from research.experiment.config import ExperimentConfig
from research.experiment.prepare import Prepared, prepare
from trainer import features

_COLUMNS = [features.USER_ID, features.HISTORY_ITEM_ID, features.ITEM_ID]


@dataclass(frozen=True)
class PeerItems:
    """The items in the order of their indices, from 1.

    Attributes:
      ids: sorted ids.
      topics: of each item.
    """

    ids: list[bytes]
    topics: list[list[bytes]]


def experiment(conf: Path, work_dir: str) -> ExperimentConfig:
    """Returns the experiment whose only data set is the one of a run configuration."""
    return ExperimentConfig.model_validate(
        {"name": "peers", "work_dir": work_dir, "datasets": {"peers": {"conf": str(conf)}}}
    )


def prepare_data(config: ExperimentConfig) -> Prepared:
    """Makes examples and transform graph unless they are there already."""
    return prepare(config, "peers")


def read_catalogue(examples: str) -> PeerItems:
    """Reads the corpus split of raw examples."""
    columns = [features.ITEM_ID, features.ITEM_TOPICS]
    table = pa.Table.from_batches(read_split(examples, features.CORPUS_SPLIT, columns))
    rows = {row[features.ITEM_ID][0]: list(row[features.ITEM_TOPICS]) for row in table.to_pylist()}
    ids = sorted(rows)
    return PeerItems(ids, [rows[item] for item in ids])


def export_split(examples: str, catalogue: PeerItems, length: int) -> PeerSplit:
    """Numbers the items and users of all splits.

    Args:
      examples: raw examples.
      catalogue: the items.
      length: history items kept, newest first.
    """
    item_of = {item: index for index, item in enumerate(catalogue.ids, start=1)}
    item_of[b""] = 0
    user_of: dict[bytes, int] = {}
    parts = {}
    for split in SPLITS:
        blocks = []
        for batch in read_split(examples, split, _COLUMNS):
            users = padded(batch, features.USER_ID, 1, b"")[:, 0]
            blocks.append(
                (
                    np.array([user_of.setdefault(user, len(user_of) + 1) for user in users]),
                    _indices(padded(batch, features.HISTORY_ITEM_ID, length, b""), item_of),
                    _indices(padded(batch, features.ITEM_ID, 1, b""), item_of)[:, 0],
                )
            )
        parts[split] = Part(*(np.concatenate(field) for field in zip(*blocks, strict=True)))
    return PeerSplit(parts, len(user_of), len(catalogue.ids))


def _indices(ids: np.ndarray, index: dict[bytes, int]) -> np.ndarray:
    """Looks up `[rows, width]` ids; an item that the catalogue lacks is 0, as padding is."""
    flat = itertools.chain.from_iterable(ids)
    found = np.fromiter((index.get(item, 0) for item in flat), np.int64, ids.size)
    return found.reshape(ids.shape)
