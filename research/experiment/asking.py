"""What a run is asked: the catalogue and the eval examples of a data set."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa

from components.evaluator.examples import EvalExamples, read_eval_examples
from components.evaluator.items import Items
from components.examples_io import padded, read_split
from trainer import features

#: Raw features that experiments need beside those of a request.
EXTRA_COLUMNS = (features.USER_ID, features.SOURCE_TOPIC, features.SOURCE_TOPIC_DERIVED)


def read_items(examples_uri: str) -> Items:
    """Reads the catalogue of the corpus split, in its order: the order of every result row."""
    ids: list[bytes] = []
    topics: list[list[bytes]] = []
    for batch in read_split(examples_uri, features.CORPUS_SPLIT, list(features.ITEM_FEATURES)):
        ids.extend(padded(batch, features.ITEM_ID, 1, b"")[:, 0].tolist())
        column = batch.column(batch.schema.get_field_index(features.ITEM_TOPICS))
        topics.extend([list(names or []) for names in column.to_pylist()])
    return Items(ids, topics)


def read_examples(examples_uri: str, items: Items, max_examples: int, seed: int) -> EvalExamples:
    """Reads the eval examples with the columns that experiments need."""
    return read_eval_examples(examples_uri, items, max_examples, seed, EXTRA_COLUMNS)


def asked_examples(
    examples: EvalExamples, ask: Literal["followed", "source_topic"]
) -> tuple[EvalExamples, np.ndarray]:
    """Returns what a variant is asked and its positions among the eval examples.

    Args:
      examples: all eval examples.
      ask: `followed` for all as they are; `source_topic` for those whose source topic was
        logged, with that topic as the only one followed.

    Returns:
      The examples and int64 `[asked]` positions, rising.
    """
    if ask == "followed":
        return examples, np.arange(len(examples))
    if not len(examples):
        return examples, np.zeros(0, np.int64)
    derived = padded(examples.table, features.SOURCE_TOPIC_DERIVED, 1, -1)[:, 0]
    topic = padded(examples.table, features.SOURCE_TOPIC, 1, b"")[:, 0]
    asked = np.flatnonzero((derived == 0) & (topic != b""))
    table = examples.table.take(pa.array(asked))
    place = table.schema.get_field_index(features.FOLLOWED_TOPIC)
    table = table.set_column(place, features.FOLLOWED_TOPIC, table[features.SOURCE_TOPIC])
    chosen = EvalExamples(
        table=table.combine_chunks(),
        target=examples.target[asked],
        history_length=examples.history_length[asked],
        follows=np.ones(len(asked), np.int64),
    )
    return chosen, asked
