"""The eval examples that are replayed: a seeded sample, held as one Arrow table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from components.evaluator.items import Items
from components.examples_io import count_rows, padded, read_split
from components.requests import USER_COLUMNS
from trainer import features


@dataclass(frozen=True)
class EvalExamples:
    """Sampled examples, in the order of the split.

    Attributes:
      table: their raw features.
      target: `[examples]` int32 catalogue row of the target, below 0 if it has none.
      history_length: `[examples]` int.
      follows: `[examples]` int, number of followed topics.
    """

    table: pa.Table
    target: np.ndarray
    history_length: np.ndarray
    follows: np.ndarray

    def __len__(self) -> int:
        return len(self.target)

    def head(self, number: int) -> EvalExamples:
        """Returns the first examples."""
        return EvalExamples(
            table=self.table.slice(0, number),
            target=self.target[:number],
            history_length=self.history_length[:number],
            follows=self.follows[:number],
        )

    def sample(self, number: int, seed: int) -> EvalExamples:
        """Returns a random part of at most `number` examples, in their order."""
        if number >= len(self):
            return self
        rows = np.sort(np.random.default_rng(seed).choice(len(self), number, replace=False))
        return EvalExamples(
            table=self.table.take(rows),
            target=self.target[rows],
            history_length=self.history_length[rows],
            follows=self.follows[rows],
        )

    def batches(self, size: int) -> list[pa.RecordBatch]:
        """Returns the examples in batches of at most `size`."""
        return [
            self.table.slice(start, size).combine_chunks().to_batches()[0]
            for start in range(0, len(self), size)
        ]


def read_eval_examples(
    examples_uri: str,
    items: Items,
    max_examples: int,
    seed: int,
    extra_columns: Sequence[str] = (),
    split: str = features.EVAL_SPLIT,
) -> EvalExamples:
    """Reads the eval split, or a uniform sample of it without replacement.

    Args:
      examples_uri: raw examples.
      items: the catalogue.
      max_examples: size of the sample.
      seed: of the sample.
      extra_columns: raw features to keep in the table beside those of a request.
      split: another one to read instead.
    """
    total = count_rows(examples_uri, split)
    if total > max_examples:
        generator = np.random.default_rng(seed)
        chosen = np.sort(generator.choice(total, max_examples, replace=False))
    else:
        chosen = np.arange(total)
    return read_rows(examples_uri, items, chosen, extra_columns, split)


def read_rows(
    examples_uri: str,
    items: Items,
    chosen: np.ndarray,
    extra_columns: Sequence[str] = (),
    split: str = features.EVAL_SPLIT,
) -> EvalExamples:
    """Reads some examples of one split.

    Args:
      examples_uri: raw examples.
      items: the catalogue.
      chosen: `[examples]` int row numbers of the split, rising.
      extra_columns: raw features to keep in the table beside those of a request.
      split: which one.
    """
    columns = [*USER_COLUMNS, features.ITEM_ID, *extra_columns]
    parts: list[pa.RecordBatch] = []
    start = 0
    for batch in read_split(examples_uri, split, columns):
        inside = chosen[(chosen >= start) & (chosen < start + batch.num_rows)] - start
        start += batch.num_rows
        if len(inside):
            taken = pa.Table.from_batches([batch]).select(batch.schema.names).take(pa.array(inside))
            parts.extend(taken.combine_chunks().to_batches())
    if not parts:
        empty = np.zeros(0, np.int32)
        return EvalExamples(pa.table({}), empty, empty, empty)
    table = pa.Table.from_batches(parts).combine_chunks()
    batch = table.to_batches()[0]
    return EvalExamples(
        table=table,
        target=items.rows(padded(batch, features.ITEM_ID, 1, b"")[:, 0]),
        history_length=_lengths(batch, features.HISTORY_ITEM_ID),
        follows=_lengths(batch, features.FOLLOWED_TOPIC),
    )


def _lengths(batch: pa.RecordBatch, column: str) -> np.ndarray:
    lengths = batch.column(batch.schema.get_field_index(column)).value_lengths()
    return np.asarray(lengths.fill_null(0).to_numpy(zero_copy_only=False), np.int64)
