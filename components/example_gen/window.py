"""Which files a run reads and what they contain: the part of the cache key that is data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, NamedTuple

from components.config import ExampleGenConfig
from tables.layout import TableSet, find_tables, fingerprint

FINGERPRINT_PROPERTY = "input_fingerprint"
SPAN_PROPERTY = "span"


class Window(NamedTuple):
    """The input of one run.

    Attributes:
      tables: the files.
      fingerprint: digest of their contents, whatever their names, order and times.
    """

    tables: TableSet
    fingerprint: str

    @property
    def run_date(self) -> str:
        """The last day of the window, `YYYY-MM-DD`; empty for one-shot tables."""
        return self.tables.run_date.isoformat() if self.tables.run_date else ""

    @property
    def span(self) -> int:
        """Days from 1970 to the run date, as TFX numbers spans of dates; 0 for one-shot tables."""
        day = self.tables.run_date
        return (day - dt.date(1970, 1, 1)).days if day else 0


def resolve(config: ExampleGenConfig, exec_properties: Mapping[str, Any]) -> Window:
    """Finds the files of the window and their fingerprint.

    Args:
      config: where the tables are and what the window is.
      exec_properties: `data_root` and `run_date` replace what `config` says when they
        are given; a fingerprint that the driver found is not computed again.

    Raises:
      DataError: a table or a span of the window is missing.
    """
    update: dict[str, Any] = {}
    if exec_properties.get("data_root"):
        update["root"] = exec_properties["data_root"]
    if exec_properties.get("run_date"):
        update["run_date"] = dt.date.fromisoformat(exec_properties["run_date"])
    tables = find_tables(config.data.model_copy(update=update))
    known = exec_properties.get(FINGERPRINT_PROPERTY)
    return Window(tables, known or fingerprint(tables))
