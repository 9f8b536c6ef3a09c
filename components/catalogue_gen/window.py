"""Which files a refresh reads and what they contain."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from components.catalogue_gen.config import CatalogueGenConfig
from components.example_gen.window import FINGERPRINT_PROPERTY, Window
from tables.catalogue import find_items
from tables.layout import fingerprint


def resolve(config: CatalogueGenConfig, exec_properties: Mapping[str, Any]) -> Window:
    """Finds the files of the items table and their fingerprint.

    Args:
      config: where the table is.
      exec_properties: `data_root` and `run_date` replace what `config` says when they
        are given; a fingerprint that the driver found is not computed again.

    Raises:
      DataError: there is no items table, or not that of the day.
    """
    update: dict[str, Any] = {}
    if exec_properties.get("data_root"):
        update["root"] = exec_properties["data_root"]
    if exec_properties.get("run_date"):
        update["run_date"] = dt.date.fromisoformat(exec_properties["run_date"])
    tables = find_items(config.data.model_copy(update=update))
    return Window(tables, exec_properties.get(FINGERPRINT_PROPERTY) or fingerprint(tables))
