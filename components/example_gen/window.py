"""Which files a run reads and what they contain: the part of the cache key that is data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from components.config import ExampleGenConfig
from input_tables.config import DataConfig
from input_tables.layout import TableSet, find_tables, fingerprint
from input_tables.remote import local_tables
from input_tables.run_date import parse_run_date

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


def data_config(data: DataConfig, exec_properties: Mapping[str, Any]) -> DataConfig:
    """Returns where the tables are and what the window is.

    Args:
      data: what the configuration says.
      exec_properties: `data_root` and `run_date` replace it when they are given.

    Raises:
      ConfigError: `run_date` is no day; see `input_tables.run_date`.
    """
    update: dict[str, Any] = {}
    if exec_properties.get("data_root"):
        update["root"] = exec_properties["data_root"]
    if exec_properties.get("run_date"):
        update["run_date"] = parse_run_date(exec_properties["run_date"])
    return data.model_copy(update=update)


@contextmanager
def opened_window(config: ExampleGenConfig, exec_properties: Mapping[str, Any]) -> Iterator[Window]:
    """Yields the window with files that can be read until the block ends.

    Tables under a URL are copied first, and the copy goes with the block.

    Args:
      config: where the tables are and what the window is.
      exec_properties: see `data_config`; a fingerprint that the driver found is not
        computed again.

    Raises:
      ConfigError: `run_date` is no day.
      DataError: a table or a span of the window is missing.
    """
    with local_tables(data_config(config.data, exec_properties)) as data:
        tables = find_tables(data)
        yield Window(tables, exec_properties.get(FINGERPRINT_PROPERTY) or fingerprint(tables))


def resolve(config: ExampleGenConfig, exec_properties: Mapping[str, Any]) -> Window:
    """Finds the files of the window and their fingerprint; see `opened_window`.

    The files of tables under a URL are gone when it returns.
    """
    with opened_window(config, exec_properties) as window:
        return window
