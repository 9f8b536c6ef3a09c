"""Writes that are either whole or not there."""

from __future__ import annotations

import ctypes
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


@contextmanager
def rewritten_directory(path: str | Path, staging: str | Path) -> Iterator[Path]:
    """Yields a copy of a folder, made of hard links, that takes its place on success.

    Replace files in the copy, never write into one: its content is shared with the original.
    Where the system can exchange two names, there is no moment without the folder.

    Args:
      path: the folder.
      staging: a path that does not exist, in the same file system.
    """
    target, copy = Path(path), Path(staging)
    try:
        shutil.copytree(target, copy, symlinks=True, copy_function=_link_or_copy)
        yield copy
        _exchange(copy, target)
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
    return target


_EXCHANGE, _AT_FDCWD = 2, -100  # of Linux' renameat2


def _exchange(first: Path, second: Path) -> None:
    """Exchanges two folders by name: in one step on Linux, elsewhere in two."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(first), os.fsencode(second)
    if rename and rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0:
        return
    aside = first.with_name(f"{first.name}-old")
    os.rename(second, aside)
    os.rename(first, second)
    os.rename(aside, first)


def write_json(path: str | Path, value: Any) -> None:
    """Writes indented JSON in one atomic step; NaN is refused."""
    with staged_file(path) as staging:
        staging.write_text(json.dumps(value, indent=2, sort_keys=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads one JSON file."""
    return json.loads(Path(path).read_text())
