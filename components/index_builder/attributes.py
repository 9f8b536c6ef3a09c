"""What requests filter by, in the order of the catalogue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.example_gen.attributes import read_attributes
from components.index_builder.catalogue import Catalogue
from core.errors import DataError
from core.files import staged_file
from trainer.config import RetrievalConfig
from trainer.retrieval.explore import newest_rows
from trainer.retrieval.filters import Attributes

_SHOWN = 3


def attributes_table(
    examples_uri: str, catalogue: Catalogue, retrieval: RetrievalConfig
) -> pa.Table | None:
    """Returns `item_id` and a column of text per attribute, rows as in the catalogue.

    Returns:
      None where `retrieval.filters` names none but topics.

    Raises:
      DataError: the examples do not hold them.
    """
    names = retrieval.attribute_columns()
    if not names:
        return None
    table = read_attributes(examples_uri, names)
    ids = pa.array(catalogue.ids, pa.large_binary())
    place = pc.index_in(ids, value_set=table.column("item_id").combine_chunks())
    if place.null_count:
        raise DataError(
            f"{examples_uri}: {place.null_count} items of the corpus have no attributes: run the "
            "pipeline from its start"
        )
    return table.take(place)


def filter_attributes(
    table: pa.Table | None, catalogue: Catalogue, retrieval: RetrievalConfig
) -> Attributes | None:
    """Returns what the retriever filters by; None for a configuration without filters.

    Args:
      table: see `attributes_table`.
      catalogue: whose topics are one of the columns, where they are asked for.
      retrieval: names the columns.

    Raises:
      DataError: a value of a number column is no number.
    """
    if not retrieval.filters:
        return None
    texts: dict[str, list[list[bytes]]] = {}
    numbers: dict[str, np.ndarray] = {}
    for name, kind in retrieval.filter_columns().items():
        if name == "topics":
            texts[name] = [list(dict.fromkeys(each)) for each in catalogue.topics]
        elif table is not None and kind == "text":
            values = table.column(name).to_pylist()
            texts[name] = [[value] if value else [] for value in values]
        elif table is not None:
            numbers[name] = _numbers(table.column(name), name, catalogue)
    return Attributes(texts, numbers)


def newest(
    table: pa.Table | None, catalogue: Catalogue, retrieval: RetrievalConfig
) -> np.ndarray | None:
    """Returns the rows of the items that lists explore; None for a configuration without.

    Raises:
      DataError: no item says when it was created.
    """
    if not retrieval.explore_share or table is None:
        return None
    rows = newest_rows(
        _numbers(table.column("created_at"), "created_at", catalogue), retrieval.explore_newest
    )
    if not len(rows):
        raise DataError(
            "retrieval.explore_share needs to know which items are new, but no item of the table "
            "has a `created_at`: deliver that column, or set retrieval.explore_share to 0"
        )
    return rows


def write_attributes_file(table: pa.Table | None, path: Path) -> None:
    """Writes the table beside the index, or removes that of an attempt that was killed."""
    path.unlink(missing_ok=True)
    if table is not None:
        with staged_file(path) as staging:
            pq.write_table(table, staging)


def _numbers(column: pa.ChunkedArray, name: str, catalogue: Catalogue) -> np.ndarray:
    """Returns `[items]` float64, NaN where there is none."""
    texts = [
        value.decode("utf-8", "replace").strip() if value else "" for value in column.to_pylist()
    ]
    found, wrong = np.full(len(texts), np.nan), []
    for row, text in enumerate(texts):
        if not text:
            continue
        try:
            found[row] = float(text)
        except ValueError:
            wrong.append(f"{text[:40]!r} of item {catalogue.ids[row].decode(errors='replace')!r}")
    if wrong:
        raise DataError(
            f"column {name!r} of the items table is filtered by as a number, but {len(wrong)} "
            f"values are none: {', '.join(wrong[:_SHOWN])}; mend them, or write "
            f"retrieval.filters with {name!r} as text"
        )
    return found
