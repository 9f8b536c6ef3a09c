"""Removes old versions, never one that is needed."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from components.bundle.pins import read_pins
from components.bundle.versions import list_versions
from components.pusher.staging import STAGING_PREFIX


def expired_versions(model_dir: Path, keep_versions: int) -> list[Path]:
    """Returns the version folders that retention may remove, oldest first.

    The newest `keep_versions` stay, and so does every pinned or labelled one,
    which does not count against that number. Folders that are no valid bundle
    are left alone.

    Raises:
      BundleError: the pins cannot be read, so nothing may be removed.
    """
    kept = read_pins(model_dir).kept
    versions = list_versions(model_dir)
    old = versions[: max(0, len(versions) - max(1, keep_versions))]
    return [bundle.path for bundle in old if bundle.version not in kept]


def remove_version(path: Path) -> None:
    """Takes one version away: it vanishes in one step and is then deleted."""
    doomed = path.with_name(f"{STAGING_PREFIX}{uuid.uuid4().hex}")
    os.rename(path, doomed)
    shutil.rmtree(doomed)
