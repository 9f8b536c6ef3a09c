"""Query vectors of real users, on which the index is measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from components.examples_io import read_split, split_files
from components.requests import USER_COLUMNS, user_request
from core.errors import DataError
from trainer import features
from trainer.retrieval.budgets import IMPLICIT

_BATCH = 256


def query_embeddings(model: Any, examples_uri: str, count: int, implicit_only: bool) -> np.ndarray:
    """Embeds users of the validation split, or of the eval split if that is empty.

    Args:
      model: has `embed_user`.
      examples_uri: raw examples.
      count: query vectors wanted.
      implicit_only: leave out followed topics (they search within their topic).

    Returns:
      `[queries, dim]` float32, at most `count`; `[0, 0]` when there are no users.
    """
    for split in (features.VALIDATION_SPLIT, features.EVAL_SPLIT):
        parts: list[np.ndarray] = []
        found = 0
        for batch in _batches(examples_uri, split):
            for start in range(0, batch.num_rows, _BATCH):
                request = user_request(batch.slice(start, _BATCH))
                slots = model.embed_user(**{k: tf.constant(v) for k, v in request.items()})
                wanted = slots["slot_valid"].numpy()
                if implicit_only:
                    wanted &= slots["slot_kind"].numpy() == IMPLICIT
                vectors = slots["embeddings"].numpy()[wanted]
                parts.append(vectors[np.isfinite(vectors).all(axis=1)])
                found += len(parts[-1])
                if found >= count:
                    return np.concatenate(parts)[:count]
        if found:
            return np.concatenate(parts)
    return np.zeros((0, 0), np.float32)


def _batches(examples_uri: str, split: str) -> Iterator[pa.RecordBatch]:
    try:
        split_files(examples_uri, split)
    except DataError:  # a split may be missing altogether
        return
    yield from read_split(examples_uri, split, list(USER_COLUMNS))
