"""Which files a run reads and what they contain: the part of the cache key that is data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, NamedTuple

from components.config import ExampleGenConfig
from core.errors import DataError
from core.storage import is_remote
from input_tables.config import DataConfig
from input_tables.layout import TableSet, find_tables, fingerprint
from input_tables.remote_tables import listed_tables, marks_fingerprint
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


def resolve(config: ExampleGenConfig, exec_properties: Mapping[str, Any]) -> Window:
    """Finds the files of the window and their fingerprint.

    Tables under a URL are listed: nothing of them is downloaded.

    Args:
      config: where the tables are and what the window is.
      exec_properties: see `data_config`; a fingerprint that the driver found of files is
        not computed again.

    Raises:
      ConfigError: `run_date` is no day.
      DataError: a table or a span of the window is missing, or tables under a URL are not
        those that the driver saw.
    """
    data = data_config(config.data, exec_properties)
    known = exec_properties.get(FINGERPRINT_PROPERTY)
    if not is_remote(data.root):
        tables = find_tables(data, config.wanted)
        return Window(tables, known or fingerprint(tables))
    tables = listed_tables(data, wanted=config.wanted)
    found = marks_fingerprint(tables)
    if known and known != found:
        raise DataError(
            f"{tables.root}: the tables are not what they were when the run began; they are being "
            "written: run again when they are complete"
        )
    return Window(tables, found)
