"""The index's catalogue as the evaluator needs it: ids to rows, topics as a matrix."""

from __future__ import annotations

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


class Items:
    """Maps item ids to rows and rows to topics."""

    def __init__(self, ids: list[bytes], topics: list[list[bytes]]) -> None:
        """Builds the maps.

        Args:
          ids: distinct item ids.
          topics: topics of each item.
        """
        self.ids = ids
        self._index = pd.Index(np.asarray(ids, dtype=object))
        names = sorted({topic for item in topics for topic in item})
        column = {name: i for i, name in enumerate(names)}
        pairs = [(row, column[t]) for row, item in enumerate(topics) for t in sorted(set(item))]
        coordinates = np.asarray(pairs, np.int64).reshape(-1, 2)
        #: `[items, topics]` CSR, 1 where an item carries a topic.
        self.topics = sparse.csr_matrix(
            (np.ones(len(pairs), np.float32), (coordinates[:, 0], coordinates[:, 1])),
            shape=(len(ids), max(1, len(names))),
        )
        self._topic_column = column

    @classmethod
    def read(cls, path: str | Path) -> Items:
        """Reads `items.parquet` of an index."""
        table = pq.read_table(path, columns=["item_id", "topics"])
        ids = table["item_id"].cast(pa.binary()).to_pylist()
        topics = table["topics"].cast(pa.list_(pa.binary())).to_pylist()
        return cls(ids, [list(names or []) for names in topics])

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
