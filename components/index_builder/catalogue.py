"""The catalogue: items of the corpus split with their vectors, embedded in one pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from components.examples_io import padded, read_split
from components.requests import longest_list
from core.errors import IndexQualityError
from core.progress import track
from trainer import features

_SHOWN = 3


@dataclass(frozen=True)
class Catalogue:
    """Items in corpus order.

    Attributes:
      ids: distinct item ids.
      topics: topics of each item.
      embeddings: `[items, dim]` float32, finite.
      values: texts `name=value` of each item; None for a model without features.
      shards: items of each shard, which follow one another; () for one index.
    """

    ids: list[bytes]
    topics: list[list[bytes]]
    embeddings: np.ndarray
    values: list[list[bytes]] | None = None
    shards: tuple[int, ...] = ()


def embed_items(model: Any, batch: pa.RecordBatch) -> np.ndarray:
    """Returns the vectors of a batch of corpus rows, `[items, dim]` float32."""
    given = {features.ITEM_ID: tf.constant(padded(batch, features.ITEM_ID, 1, b"")[:, 0])}
    for name in (features.ITEM_TOPICS, features.ITEM_VALUES):
        if name in batch.schema.names:
            texts = padded(batch, name, longest_list(batch, name), b"")
            given[name] = tf.constant(texts, tf.string)
    return model.embed_items(**given)["embeddings"].numpy()


def embed_catalogue(model: Any, examples_uri: str, batch_size: int) -> Catalogue:
    """Embeds every item of the corpus split.

    Id and vector of an item come from the same row of the same batch, so they
    cannot get out of step.

    Args:
      model: has `embed_items`.
      examples_uri: raw examples.
      batch_size: items embedded at once.

    Raises:
      IndexQualityError: no items, empty or repeated ids, vectors not finite.
    """
    ids: list[bytes] = []
    topics: list[list[bytes]] = []
    values: list[list[bytes]] = []
    parts: list[np.ndarray] = []
    columns = [*features.ITEM_FEATURES, features.ITEM_VALUES]
    with track("embedding items") as bar:
        for batch in read_split(examples_uri, features.CORPUS_SPLIT, columns):
            for start in range(0, batch.num_rows, batch_size):
                part = batch.slice(start, batch_size)
                ids.extend(padded(part, features.ITEM_ID, 1, b"")[:, 0].tolist())
                topics.extend(_lists(part, features.ITEM_TOPICS))
                if features.ITEM_VALUES in part.schema.names:
                    values.extend(_lists(part, features.ITEM_VALUES))
                parts.append(embed_items(model, part))
                bar.advance(part.num_rows)
    embeddings = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
    check_catalogue(ids, embeddings)
    return Catalogue(ids, topics, np.ascontiguousarray(embeddings, np.float32), values or None)


def _lists(batch: pa.RecordBatch, name: str) -> list[list[bytes]]:
    column = batch.column(batch.schema.get_field_index(name))
    return [list(texts or []) for texts in column.to_pylist()]


def check_catalogue(ids: list[bytes], embeddings: np.ndarray) -> None:
    """Refuses a catalogue that would answer wrongly.

    Raises:
      IndexQualityError: names what is wrong with the values seen.
    """
    if not ids:
        raise IndexQualityError(
            "the corpus split holds no items: check the items table and the example generator"
        )
    if len(ids) != len(embeddings):
        raise IndexQualityError(f"{len(ids)} item ids but {len(embeddings)} vectors")
    repeated = [(i, n) for i, n in Counter(ids).items() if n > 1]
    if repeated:
        shown = ", ".join(f"{i.decode(errors='replace')!r} x{n}" for i, n in repeated[:_SHOWN])
        raise IndexQualityError(
            f"{len(repeated)} item ids occur more than once in the corpus split ({shown}): "
            "each item must be there once"
        )
    if b"" in ids:
        raise IndexQualityError("an item of the corpus split has an empty id")
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(bad):
        shown = ", ".join(repr(ids[i].decode(errors="replace")) for i in bad[:_SHOWN])
        raise IndexQualityError(
            f"{len(bad)} of {len(ids)} item vectors are not finite (items {shown}): "
            "the training diverged; lower trainer.learning_rate"
        )
    if not embeddings.any():
        raise IndexQualityError(f"all {len(ids)} item vectors are zero: the model is not trained")
