"""Which files a refresh reads and what they contain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from components.example_gen.window import FINGERPRINT_PROPERTY, Window, data_config
from components.refresh.catalogue_gen.config import CatalogueGenConfig
from input_tables.catalogue import find_items
from input_tables.layout import fingerprint
from input_tables.remote import local_tables


@contextmanager
def opened_window(
    config: CatalogueGenConfig, exec_properties: Mapping[str, Any]
) -> Iterator[Window]:
    """Yields the items table with files that can be read until the block ends.

    A table under a URL is copied first, and the copy goes with the block.

    Args:
      config: where the table is.
      exec_properties: `data_root` and `run_date` replace what `config` says when they
        are given; a fingerprint that the driver found is not computed again.

    Raises:
      ConfigError: `run_date` is no day.
      DataError: there is no items table, or not that of the day.
    """
    with local_tables(data_config(config.data, exec_properties), items_only=True) as data:
        tables = find_items(data)
        yield Window(tables, exec_properties.get(FINGERPRINT_PROPERTY) or fingerprint(tables))


def resolve(config: CatalogueGenConfig, exec_properties: Mapping[str, Any]) -> Window:
    """Finds the files of the items table and their fingerprint; see `opened_window`.

    The files of a table under a URL are gone when it returns.
    """
    with opened_window(config, exec_properties) as window:
        return window
