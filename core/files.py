"""Writes that are either whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def staged_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` and renames it there on success.

    The parent folder is made if needed. On any error the temporary file is
    removed and whatever was at `path` before stays.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_name(f".{target.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        yield staging
        os.replace(staging, target)
    finally:
        staging.unlink(missing_ok=True)


@contextmanager
def staged_directory(path: str | Path) -> Iterator[Path]:
    """Yields an empty temporary folder beside `path` and renames it there on success.

    Raises:
      FileExistsError: when `path` exists already; it is left untouched.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise FileExistsError(str(target))
    staging = target.with_name(f".{target.name}.tmp-{uuid.uuid4().hex[:8]}")
    staging.mkdir()
    try:
        yield staging
        os.rename(staging, target)
    finally:
        if staging.exists():
            shutil.rmtree(staging)


def write_json(path: str | Path, value: Any) -> None:
    """Writes indented JSON in one atomic step; NaN is refused."""
    with staged_file(path) as staging:
        staging.write_text(json.dumps(value, indent=2, sort_keys=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads one JSON file."""
    return json.loads(Path(path).read_text())
