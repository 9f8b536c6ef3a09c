"""What the floors learn from: all examples before the eval split, as integer arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from components.evaluator.items import Items
from components.examples_io import padded, read_split, split_files
from core.errors import DataError
from core.progress import track
from trainer import features

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class TrainingLog:
    """Engagements before the eval split.

    Attributes:
      user: `[pairs]` int32 user numbers.
      item: `[pairs]` int32 item rows, one pair per engagement.
      previous: `[transitions]` int32 item row before the target.
      target: `[transitions]` int32 item row of the target.
      popularity: `[items]` int64 number of times an item was a target.
      seen: `[items]` bool, whether an item occurs in what the model learned from.
      events: `[items]` int64, users of what the model learned from who engaged with an item.
      names: `[users]` object (bytes), the id of each user number.
    """

    user: np.ndarray
    item: np.ndarray
    previous: np.ndarray
    target: np.ndarray
    popularity: np.ndarray
    seen: np.ndarray
    events: np.ndarray
    names: np.ndarray


def newest_items(batch: pa.RecordBatch) -> np.ndarray:
    """Returns the id of each example's newest history item, b'' without history."""
    column = batch.column(batch.schema.get_field_index(features.HISTORY_ITEM_ID))
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    newest = np.full(batch.num_rows, b"", dtype=object)
    has = lengths > 0
    first = np.cumsum(lengths) - lengths
    flat = column.flatten()
    newest[has] = flat.take(pa.array(first[has])).to_numpy(zero_copy_only=False)
    return newest


def read_training_log(
    examples_uri: str, items: Items, validation: bool = True, refit: bool = False
) -> TrainingLog:
    """Reads the training and validation splits once.

    The floors learn from both, which makes them as strong as they can be before
    the eval examples; what the model has seen is the training split alone, unless it was
    refitted. Each target is an engagement of its user; so is the newest item before it, which
    brings in first items that are never targets.

    Args:
      examples_uri: raw examples.
      items: the catalogue.
      validation: whether the validation split is read as well.
      refit: whether the model has learned from that, too.
    """
    users: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    newest: list[np.ndarray] = []
    with track("reading what the floors learn from") as bar:
        for batch in _batches(examples_uri, features.TRAIN_SPLIT):
            _append(batch, items, users, targets, newest)
            bar.advance(batch.num_rows)
        train = sum(map(len, targets))
        for batch in _batches(examples_uri, features.VALIDATION_SPLIT) if validation else ():
            _append(batch, items, users, targets, newest)
            bar.advance(batch.num_rows)
    user, names = pd.factorize(np.concatenate([*users, np.zeros(0, object)]))
    user = user.astype(np.int32)
    target = np.concatenate([*targets, np.zeros(0, np.int32)])
    trained = len(target) if refit else train
    previous = np.concatenate([*newest, np.zeros(0, np.int32)])
    pair_user = np.concatenate([user, user])
    pair_item = np.concatenate([target, previous])
    known = pair_item >= 0
    both = (target >= 0) & (previous >= 0)
    count = len(items)
    in_training = np.concatenate([target[:trained], previous[:trained]])
    training_user = np.concatenate([user[:trained], user[:trained]])[in_training >= 0]
    in_training = in_training[in_training >= 0]
    pairs = np.unique(training_user.astype(np.int64) * count + in_training)
    events = np.bincount(pairs % max(1, count), minlength=count)
    return TrainingLog(
        user=pair_user[known],
        item=pair_item[known],
        previous=previous[both],
        target=target[both],
        popularity=np.bincount(target[target >= 0], minlength=count),
        seen=events > 0,
        events=events,
        names=names,
    )


def _batches(examples_uri: str, split: str) -> Iterator[pa.RecordBatch]:
    columns = [features.USER_ID, features.ITEM_ID, features.HISTORY_ITEM_ID]
    if split == features.VALIDATION_SPLIT:
        try:
            split_files(examples_uri, split)
        except DataError:  # a run may do without validation
            return
    yield from read_split(examples_uri, split, columns, _BATCH_ROWS)


def _append(
    batch: pa.RecordBatch,
    items: Items,
    users: list[np.ndarray],
    targets: list[np.ndarray],
    newest: list[np.ndarray],
) -> None:
    users.append(padded(batch, features.USER_ID, 1, b"")[:, 0])
    targets.append(items.rows(padded(batch, features.ITEM_ID, 1, b"")[:, 0]))
    newest.append(items.rows(newest_items(batch)))
