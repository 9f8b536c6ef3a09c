"""Some rows of a file, as columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from input_tables.importers.table.header import WantedColumns
from input_tables.importers.table.tally import Tally


class Portion(NamedTuple):
    """Some rows of a file.

    Attributes:
      columns: of `[rows]`; text, except where Parquet has types.
      places: int64 `[rows]` line (Parquet: row) of each, from 1.
    """

    columns: dict[str, pa.Array]
    places: np.ndarray


def portion_of(
    rows: list[list[str]],
    places: list[int],
    wanted: WantedColumns,
    path: str,
    tally: Tally,
) -> Portion:
    """Returns rows of texts, in the order of `wanted.columns`.

    Those that are not in the encoding they should be in are refused.
    """
    try:
        columns = {
            name: pa.array([row[n] for row in rows], pa.string())
            for n, name in enumerate(wanted.columns)
        }
        return Portion(columns, np.array(places, np.int64))
    except UnicodeEncodeError:
        kept = [n for n, row in enumerate(rows) if _encodes("".join(row))]
    for n in sorted({*range(len(rows))} - {*kept}):
        shown = " ".join(rows[n]).encode("utf-8", "replace").decode()
        tally.refuse(path, places[n], f"is not {wanted.encoding}", shown)
    return portion_of([rows[n] for n in kept], [places[n] for n in kept], wanted, path, tally)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
