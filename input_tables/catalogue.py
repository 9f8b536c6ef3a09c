"""Finds the items table alone, for runs that need neither engagements nor follows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from core.errors import DataError
from input_tables.config import DataConfig
from input_tables.contract import ITEMS
from input_tables.layout import TableSet, table_files, table_set
from input_tables.spans import (
    FORMATS,
    find_single,
    has_single,
    mode_of,
    refuse_no_folder,
    span_files,
)


def find_items(config: DataConfig) -> TableSet:
    """Finds the files of the items table as `input_tables.layout.find_tables` does.

    Scheduled tables give the items of `run_date`, and of no other day.

    Raises:
      DataError: there is no items table, its span is missing, two files hold it, the
        layout cannot be told, or a folder cannot be read.
    """
    refuse_no_folder(config.root)
    layout = config.layout if config.layout != "auto" else _detect(config.root)
    if layout == "single":
        found = find_single(config.root, (ITEMS,))
    elif config.run_date is None:
        raise DataError(
            f"{config.root}: items in spans need a run date; set data.run_date (YYYY-MM-DD), "
            "the latest span is never assumed"
        )
    else:
        folder = Path(config.root) / ITEMS / f"span={config.run_date.isoformat()}"
        if mode_of(folder) is None:
            raise DataError(
                f"span {config.run_date} of {ITEMS} is missing: {folder}; deliver the span, or "
                "change data.run_date (another span is never used instead)"
            )
        found = span_files(ITEMS, folder, config.run_date)
    files = table_files(config, sorted(found, key=lambda file: file[1]))
    window = None if config.run_date is None else (config.run_date, config.run_date)
    window = window if layout == "spans" else None
    return table_set(config, layout, files, window)


def _detect(root: str) -> Literal["single", "spans"]:
    single, spans = has_single(root, (ITEMS,)), _has_spans(root)
    if single and spans:
        raise DataError(
            f"{root}: holds both an items file and items/span= folders; set data.layout to "
            "single or spans"
        )
    if not single and not spans:
        names = ", ".join(f"{ITEMS}{suffix}" for suffix in FORMATS)
        raise DataError(
            f"{root}: no items table found; expected one of {names} (one-shot) "
            f"or {ITEMS}/span=YYYY-MM-DD/ (scheduled)"
        )
    return "single" if single else "spans"


def _has_spans(root: str) -> bool:
    try:
        names = os.listdir(Path(root) / ITEMS)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise DataError(f"{root}/{ITEMS}: cannot be listed: {error.strerror or error}") from error
    return any(name.startswith("span=") for name in names)
