"""The index's catalogue as the evaluator needs it: ids to rows, topics as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

#: Row of a retrieved item that the catalogue does not have, and of a pad.
UNKNOWN = -2
PAD = -1
_TOPICS = pa.list_(pa.binary())


class Items:
    """Maps item ids to rows and rows to topics."""

    def __init__(self, ids: list[bytes], topics: Sequence[Sequence[bytes]] | pa.Array) -> None:
        """Builds the maps.

        Args:
          ids: distinct item ids.
          topics: topics of each item, as lists or as an Arrow array of lists (a catalogue of
            millions takes a third of the memory and time); null is no topic.
        """
        self.ids = ids
        self._index = pd.Index(np.asarray(ids, dtype=object))
        lists = topics if isinstance(topics, pa.Array) else pa.array(topics, _TOPICS)
        topic = lists.flatten().dictionary_encode()
        names = sorted(topic.dictionary.to_pylist())
        self._topic_column = {name: column for column, name in enumerate(names)}
        column = np.array([self._topic_column[n] for n in topic.dictionary.to_pylist()], np.int64)
        sizes = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        row = np.repeat(np.arange(len(ids)), sizes)
        #: `[items, topics]` CSR, 1 where an item carries a topic.
        self.topics = sparse.csr_matrix(
            (np.ones(len(row), np.float32), (row, column[topic.indices.to_numpy()])),
            shape=(len(ids), max(1, len(names))),
        )
        self.topics.sum_duplicates()
        self.topics.data[:] = 1.0

    @classmethod
    def read(cls, path: str | Path) -> Items:
        """Reads `items.parquet` of an index."""
        table = pq.read_table(path, columns=["item_id", "topics"])
        ids = table["item_id"].cast(pa.binary()).to_pylist()
        return cls(ids, table["topics"].cast(_TOPICS).combine_chunks())

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, ids: Any) -> np.ndarray:
        """Returns int32 rows of ids of any shape: -1 for b'', -2 for unknown ids."""
        array = np.asarray(ids, dtype=object)
        flat = array.ravel()
        rows = self._index.get_indexer(flat)
        rows = np.where(rows < 0, np.where(flat == b"", PAD, UNKNOWN), rows)
        return rows.reshape(array.shape).astype(np.int32)

    def followed(self, topics: np.ndarray) -> sparse.csr_matrix:
        """Returns which topics, of those that items carry, each user follows.

        Args:
          topics: `[users, follows]` object (bytes, b'' pads).

        Returns:
          `[users, topics]` CSR float32 of ones.
        """
        names, where = np.unique(topics, return_inverse=True)
        columns = np.array([self._topic_column.get(name, PAD) for name in names], np.int64)
        found = columns[where].reshape(topics.shape) if len(names) else np.zeros(topics.shape)
        return indicators(found.astype(np.int64), self.topics.shape[1])

    def topic_columns(self, names: list[bytes]) -> list[int]:
        """Returns the columns of those topics that some item carries."""
        return [self._topic_column[name] for name in names if name in self._topic_column]


def indicators(columns: np.ndarray, width: int) -> sparse.csr_matrix:
    """Returns `[rows, width]` CSR float32 of ones at the columns of each row.

    Args:
      columns: `[rows, any]` int, below 0 for none; a repeated column counts once.
      width: number of columns.
    """
    row, place = np.nonzero(columns >= 0)
    ones = np.ones(len(row), np.float32)
    matrix = sparse.csr_matrix((ones, (row, columns[row, place])), shape=(len(columns), width))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix
