"""Copies a bundle under a hidden name, verifies it and lets it appear in one step."""

from __future__ import annotations

import errno
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
#: What file systems answer that cannot give a file another name, or not between these places.
_CANNOT_LINK = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
)


def staging_path(model_dir: Path) -> Path:
    """Returns a new hidden path inside `model_dir`, which no server takes for a version."""
    return model_dir / f"{STAGING_PREFIX}{uuid.uuid4().hex}"


def remove_staged(model_dir: Path) -> int:
    """Removes what killed pushers left under hidden names; call it with the lock held.

    Returns:
      The number of folders and files removed.
    """
    leftovers = list(model_dir.glob(f"{STAGING_PREFIX}*"))
    for path in leftovers:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return len(leftovers)


@contextmanager
def staging_folder(model_dir: Path) -> Iterator[Path]:
    """Yields an empty hidden folder inside `model_dir`; gone afterwards in any case."""
    staging = staging_path(model_dir)
    staging.mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def copy_content(content: Content, target: Path, without: frozenset[str] = frozenset()) -> None:
    """Copies every file, then reads every copy back against its digest.

    Files that are taken over from a published version become links to its own, so there is
    nothing to read back.

    Args:
      content: the files.
      target: an empty folder.
      without: paths in the bundle that are left out.

    Raises:
      BundleError: a copy differs from its source.
      OSError: a file cannot be read or written.
    """
    names = [name for name in content.files if name not in without]
    with track("publishing", total=2 * len(names)) as bar:
        linked = set()
        for name in names:
            if name in content.kept and link_file(content.sources[name], target / name):
                linked.add(name)
            else:
                copy_file(content.sources[name], target / name)
            bar.advance()
        for name in names:
            if name not in linked:
                check_file(target / name, content.files[name])
            bar.advance()


def link_file(source: Path, target: Path) -> bool:
    """Makes a second name for a file; returns whether the file system can do it here."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        return False
    return True


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
