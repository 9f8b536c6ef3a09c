"""Content digests: of files, of JSON values and of the project's own code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20


def file_sha256(path: str | Path) -> str:
    """Returns the hex SHA-256 of one file's content, read in chunks."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def json_digest(value: Any) -> str:
    """Returns a 16-digit hex digest of a JSON value; key order does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest(packages: Iterable[str]) -> str:
    """Returns a 16-digit hex digest of Python sources.

    TFX does not hash code that is given by import path, so this value goes into
    every component's parameters and thereby into its cache key.

    Args:
      packages: folders and files, relative to the folder that holds `core/`, for
        example `trainer` or `trainer/features.py`.

    Raises:
      FileNotFoundError: there is no Python source at one of them.
    """
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in sorted(packages):
        place = root / package
        sources = [place] if place.is_file() else sorted(place.rglob("*.py"))
        if not sources:
            raise FileNotFoundError(f"{place}: no Python source here")
        for path in sources:
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
