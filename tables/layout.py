"""Where the files of the three tables lie."""

from __future__ import annotations

import datetime as dt
from typing import Literal, NamedTuple

from tables.config import DataConfig
from tables.contract import ReadSettings, Table


class TableFile(NamedTuple):
    """One file of one table."""

    table: Table
    path: str
    span: dt.date | None
    bytes: int


class TableSet(NamedTuple):
    """The files that one run reads.

    Attributes:
      layout: `single` (one-shot) or `spans`.
      files: files of the window, sorted by table, span and path.
      window: first and last day, None in the one-shot layout.
      run_date: last day of the window, or what the configuration says.
    """

    layout: Literal["single", "spans"]
    root: str
    files: tuple[TableFile, ...]
    window: tuple[dt.date, dt.date] | None
    run_date: dt.date | None

    def of(self, table: Table) -> tuple[TableFile, ...]:
        """Returns the files of one table, possibly none (follows only)."""
        return tuple(f for f in self.files if f.table == table)


def find_tables(config: DataConfig) -> TableSet:
    """Finds the files of the window; raises DataError when any is missing."""
    raise NotImplementedError


def check_headers(tables: TableSet) -> None:
    """Checks the headers of all files; raises one DataError that lists every problem."""
    raise NotImplementedError


def fingerprint(tables: TableSet) -> str:
    """Returns a hex digest of the contents, independent of names, order and times of files."""
    raise NotImplementedError


def read_settings(
    tables: TableSet, time_unit: Literal["seconds", "order"], now: int | None = None
) -> ReadSettings:
    """Returns the row checks of a run: nothing later than its run date, or than now."""
    raise NotImplementedError
