"""Removes old versions, never one that is needed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from components.bundle.links import drop_link
from components.bundle.pins import read_pins
from components.bundle.reports import report_name
from components.bundle.versions import list_versions
from components.pusher.ordered import CAN_NOT_RENAME, remove_ordered
from components.pusher.staging import staging_path


def expired_versions(model_dir: Path, keep_versions: int) -> list[Path]:
    """Returns the version folders that retention may remove, oldest first.

    The newest `keep_versions` stay, and so does every pinned or labelled one and the one
    that a rollback leads to, which do not count against that number. Folders that are no
    valid bundle are left alone.

    Raises:
      BundleError: the pins cannot be read, so nothing may be removed.
    """
    kept = read_pins(model_dir).kept
    versions = list_versions(model_dir)
    old = versions[: max(0, len(versions) - max(1, keep_versions))]
    return [bundle.path for bundle in old if bundle.version not in kept]


def remove_version(path: Path, ordered: bool = False) -> None:
    """Takes one version away: it vanishes in one step and is then deleted, and its report too.

    Args:
      path: the version's folder.
      ordered: the folder cannot be renamed; its `saved_model.pb` goes first.
    """
    version = int(path.name)
    drop_link(path.parent, version)
    (path.parent / report_name(version)).unlink(missing_ok=True)
    if not ordered:
        doomed = staging_path(path.parent)
        try:
            os.rename(path, doomed)
        except OSError as error:
            if error.errno not in CAN_NOT_RENAME:
                raise
        else:
            shutil.rmtree(doomed)
            return
    remove_ordered(path)
