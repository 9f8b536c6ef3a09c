"""An answer as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Rows:
    """Columns of equal length; a table for pandas, Arrow or plain Python.

    Columns of strings and of lists are object arrays, the others have NumPy dtypes.
    """

    def __init__(self, columns: Mapping[str, np.ndarray]) -> None:
        """Takes the columns, in order."""
        self._columns = dict(columns)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __getitem__(self, column: str) -> np.ndarray:
        return self._columns[column]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.to_list())

    def __repr__(self) -> str:
        return f"Rows({len(self)} rows: {', '.join(self._columns)})"

    def to_list(self) -> list[dict[str, Any]]:
        """Returns one dict per row, of plain Python values."""
        lists = [_plain(column) for column in self._columns.values()]
        rows = zip(*lists, strict=True)
        return [dict(zip(self._columns, values, strict=True)) for values in rows]

    def to_arrow(self) -> pa.Table:
        """Returns a `pyarrow.Table`."""
        import pyarrow as pa

        strings, lists = pa.string(), pa.list_(pa.string())
        kinds = {"because": lists, "embedding": pa.list_(pa.float32())}
        return pa.table(
            {
                name: pa.array(_plain(column), kinds.get(name, strings))
                if column.dtype == object
                else pa.array(column)
                for name, column in self._columns.items()
            }
        )

    def to_pandas(self) -> pd.DataFrame:
        """Returns a `pandas.DataFrame`."""
        import pandas as pd

        return pd.DataFrame({name: list(column) for name, column in self._columns.items()})


def _plain(column: np.ndarray) -> list[Any]:
    values = column.tolist()
    return [v.tolist() if isinstance(v, np.ndarray) else v for v in values]
