"""The table of neighbours beside an index: written once, read by whoever serves or measures it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse

from core.errors import IndexQualityError
from core.files import staged_file
from trainer.retrieval.neighbours import NeighbourTable

_WEIGHT = b"weight"


def write_neighbours(
    ids: Sequence[bytes], matrix: sparse.csr_matrix, weight: float, path: Path
) -> None:
    """Writes neighbours as rows of the table itself: `item_id`, `neighbours`, `values`.

    Args:
      ids: items of the catalogue.
      matrix: `[items, items]` CSR, from an item to its neighbours.
      weight: see `NeighbourTable`.
      path: of the file.
    """
    offsets = pa.array(matrix.indptr.astype(np.int32))
    neighbours = pa.ListArray.from_arrays(offsets, pa.array(matrix.indices.astype(np.int32)))
    values = pa.ListArray.from_arrays(offsets, pa.array(matrix.data.astype(np.float32)))
    columns = {
        "item_id": pa.array(list(ids), pa.binary()).cast(pa.string()),
        "neighbours": neighbours,
        "values": values,
    }
    table = pa.table(columns).replace_schema_metadata({_WEIGHT: repr(weight).encode()})
    with staged_file(path) as staging:
        pq.write_table(table, staging)


def read_neighbours(path: Path, ids: Sequence[bytes] | pa.Array) -> NeighbourTable:
    """Returns the neighbours of other items, or of the same ones in another order.

    Args:
      path: of a file that `write_neighbours` wrote.
      ids: of the catalogue; items that the file does not have get no neighbours, neighbours that
        the catalogue does not have are left out.

    Raises:
      IndexQualityError: the file cannot be read.
    """
    try:
        table = pq.read_table(path)
        weight = float((table.schema.metadata or {})[_WEIGHT])
        own = table["item_id"].cast(pa.large_binary()).combine_chunks()
        neighbours = table["neighbours"].combine_chunks()
        values = table["values"].combine_chunks().flatten().to_numpy()
        starts = np.concatenate([[0], np.cumsum(neighbours.value_lengths().to_numpy())])
        columns = neighbours.flatten().to_numpy()
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise IndexQualityError(f"{path}: cannot be read as neighbours: {error}") from error
    matrix = sparse.csr_matrix((values, columns, starts), shape=(len(own),) * 2)
    there = ids if isinstance(ids, pa.Array) else pa.array(list(ids), pa.large_binary())
    if not own.equals(there):
        matrix = _of_others(matrix, own, there.cast(pa.large_binary()))
    return table_of(matrix, weight)


def table_of(matrix: sparse.csr_matrix, weight: float) -> NeighbourTable:
    """Returns a matrix of neighbours as the retriever takes it."""
    return NeighbourTable(
        matrix.indptr.astype(np.int32),
        matrix.indices.astype(np.int32),
        matrix.data.astype(np.float32),
        weight,
    )


def _of_others(matrix: sparse.csr_matrix, own: pa.Array, ids: pa.Array) -> sparse.csr_matrix:
    """Returns rows and columns for other items, empty ones for those that are not known."""
    place = pc.index_in(ids, value_set=own)
    new = np.flatnonzero(np.asarray(place.is_valid()))
    old = place.drop_null().to_numpy()
    ones = np.ones(len(new), np.float32)
    moved = sparse.csr_matrix((ones, (new, old)), shape=(len(ids), len(own)))
    return (moved @ matrix @ moved.T).tocsr()
