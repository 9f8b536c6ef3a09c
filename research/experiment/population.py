"""The eval examples of one data set as arrays that every figure is computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from components.evaluator.examples import EvalExamples
from components.evaluator.items import Items
from trainer import features

#: A topic carried by fewer items says too little about an item to stand for it.
PRIMARY_MIN_ITEMS = 5


@dataclass(frozen=True)
class Population:
    """What is known of the eval examples and of the catalogue.

    Attributes:
      users: `[examples]` int64 user numbers, 0 to users - 1.
      target: `[examples]` int32 catalogue row, below 0 when it is not there.
      target_new: `[examples]` bool, target never seen in training.
      history_length: `[examples]` int64.
      history_start: `[examples + 1]` int64, where each history begins in `history`.
      history: `[history items]` int32 catalogue rows, newest first within an example.
      follows: `[examples, topics]` CSR of ones, followed topics that some item carries.
      source: the same for the one topic that the engagement was logged with.
      topics: `[items, topics]` CSR of ones.
      primary: `[items]` int32 column of the topic that stands for the item, -1 for none.
    """

    users: np.ndarray
    target: np.ndarray
    target_new: np.ndarray
    history_length: np.ndarray
    history_start: np.ndarray
    history: np.ndarray
    follows: sparse.csr_matrix
    source: sparse.csr_matrix
    topics: sparse.csr_matrix
    primary: np.ndarray

    def __len__(self) -> int:
        return len(self.target)


def make_population(examples: EvalExamples, items: Items, target_new: np.ndarray) -> Population:
    """Reads the arrays off the examples.

    Args:
      examples: with the raw columns of a request and `user_id`; `source_topic` and
        `source_topic_derived` when sources are known.
      items: the catalogue.
      target_new: `[examples]` bool, whether the target never occurs in training.
    """
    table = examples.table
    lengths, ids = _ragged(table, features.HISTORY_ITEM_ID)
    users, _ = pd.factorize(_ragged(table, features.USER_ID)[1])
    topics = items.topics
    return Population(
        users=users.astype(np.int64),
        target=examples.target,
        target_new=target_new,
        history_length=examples.history_length,
        history_start=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        history=items.rows(ids),
        follows=_topic_matrix(*_ragged(table, features.FOLLOWED_TOPIC), items),
        source=_sources(table, items),
        topics=topics,
        primary=primary_topics(topics),
    )


def primary_topics(topics: sparse.csr_matrix) -> np.ndarray:
    """Returns the rarest topic of each item among those that enough items carry.

    An item whose topics are all too rare is given its rarest; ties go to the
    first column; -1 stands for an item without topics.

    Args:
      topics: `[items, topics]` CSR of ones.

    Returns:
      `[items]` int32.
    """
    carriers = np.asarray((topics > 0).sum(axis=0)).ravel()
    owner = np.repeat(np.arange(topics.shape[0]), np.diff(topics.indptr))
    column = topics.indices
    rare = carriers[column] < PRIMARY_MIN_ITEMS
    order = np.lexsort((column, carriers[column], rare, owner))
    owner, column = owner[order], column[order]
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    primary = np.full(topics.shape[0], -1, np.int32)
    primary[owner[first]] = column[first]
    return primary


def _ragged(table: pa.Table, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lengths `[examples]` and the flat values (bytes) of a list column."""
    if column not in table.column_names:
        return np.zeros(table.num_rows, np.int64), np.zeros(0, object)
    lists = table.column(column).combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks)
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return lengths.astype(np.int64), lists.flatten().to_numpy(zero_copy_only=False)


def _topic_matrix(lengths: np.ndarray, names: np.ndarray, items: Items) -> sparse.csr_matrix:
    owner = np.repeat(np.arange(len(lengths)), lengths)
    codes, distinct = pd.factorize(names)
    column_of = np.array(
        [next(iter(items.topic_columns([name])), -1) for name in distinct], np.int64
    ).reshape(-1)
    column = column_of[codes] if len(codes) else np.zeros(0, np.int64)
    known = column >= 0
    matrix = sparse.csr_matrix(
        (np.ones(int(known.sum()), np.float32), (owner[known], column[known])),
        shape=(len(lengths), items.topics.shape[1]),
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def _sources(table: pa.Table, items: Items) -> sparse.csr_matrix:
    """Returns the logged source topics; derived ones say nothing that follows do not."""
    lengths, names = _ragged(table, features.SOURCE_TOPIC)
    has, flags = _ragged(table, features.SOURCE_TOPIC_DERIVED)
    derived = np.zeros(len(lengths), bool)
    derived[np.repeat(np.arange(len(has)), has)[flags != 0]] = True
    kept = np.repeat(~derived, lengths)
    return _topic_matrix(np.where(derived, 0, lengths), names[kept], items)
