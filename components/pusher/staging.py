"""Copies a bundle under a hidden name, verifies it and lets it appear in one step."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.bundle.manifest import Manifest, write_manifest
from components.bundle.verify import check_file
from components.pusher.content import Content
from core.errors import PushError
from core.progress import track

STAGING_PREFIX = ".tmp-"


def remove_leftovers(model_dir: Path) -> int:
    """Removes what killed pushers left behind; call it with the lock held.

    Returns:
      The number of folders removed.
    """
    leftovers = list(model_dir.glob(f"{STAGING_PREFIX}*"))
    for path in leftovers:
        shutil.rmtree(path)
    return len(leftovers)


@contextmanager
def staging_folder(model_dir: Path) -> Iterator[Path]:
    """Yields an empty hidden folder inside `model_dir`; gone afterwards in any case."""
    staging = model_dir / f"{STAGING_PREFIX}{uuid.uuid4().hex}"
    staging.mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def copy_content(content: Content, staging: Path) -> None:
    """Copies every file, then reads every copy back against its digest.

    Raises:
      BundleError: a copy differs from its source.
      OSError: a file cannot be read or written.
    """
    with track("publishing", total=2 * len(content.files)) as bar:
        for name, source in content.sources.items():
            copy_file(source, staging / name)
            bar.advance()
        for name, entry in content.files.items():
            check_file(staging / name, entry)
            bar.advance()


def copy_file(source: Path, target: Path) -> None:
    """Copies one file's content and flushes it to the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(source, "rb") as reader, open(target, "wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def publish(staging: Path, manifest: Manifest, final: Path) -> None:
    """Writes the manifest, then renames the staged folder to its version.

    Raises:
      PushError: something lies at `final` already.
      OSError: the file system refuses.
    """
    write_manifest(staging, manifest)
    if final.exists():
        raise PushError(f"{final}: exists already; nothing was published")
    flush_folder(staging)
    os.rename(staging, final)
    flush_folder(final.parent)


def flush_folder(path: Path) -> None:
    """Flushes a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
