"""`<name>/scann/<version>`: links for a TensorFlow Serving that has ScaNN's ops.

TensorFlow Serving takes a version's SavedModel from the version folder itself, where
the one with stock ops lies. A ScaNN-enabled server reads this tree instead. A link
leads into its own version's folder, so both servers answer from one version of model
and index.
"""

from __future__ import annotations

import errno
import logging
import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from components.bundle.versions import SAVED_MODEL, BundleVersion, version_number
from components.index_builder.layout import SCANN_RETRIEVER

SCANN_TREE = "scann"
_TEMPORARY = ".tmp-"
#: What file systems without symbolic links (mounted object stores) answer.
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_log = logging.getLogger("tessera")


def link_targets(versions: Iterable[BundleVersion]) -> dict[str, str]:
    """Returns the relative target of every version's link.

    There are none unless some version has an index of ScaNN. Where there are, a version
    of the exact kind takes part with its own SavedModel, so that a rollback from one
    kind to the other works on the same server.
    """
    found = {
        str(bundle.version): (bundle.path / SCANN_RETRIEVER / SAVED_MODEL).exists()
        for bundle in versions
    }
    if not any(found.values()):
        return {}
    return {
        name: f"../{name}/{SCANN_RETRIEVER}" if own else f"../{name}" for name, own in found.items()
    }


def sync_links(model_dir: Path, versions: Iterable[BundleVersion]) -> bool:
    """Makes the links those of the published versions; hold the model's lock.

    Returns:
      Whether there are links: not without ScaNN, nor where links cannot be made.
    """
    tree = model_dir / SCANN_TREE
    targets = link_targets(versions)
    for link in _own_links(tree):
        if link.name not in targets:
            link.unlink()
    try:
        for name, target in targets.items():
            _link(tree / name, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _log.info("%s: no symbolic links here, so none for ScaNN-enabled servers", tree)
        return False
    if not targets and tree.is_dir() and not any(tree.iterdir()):
        tree.rmdir()
    return bool(targets)


def has_links(model_dir: Path) -> bool:
    """Returns whether a ScaNN-enabled server finds versions of this model."""
    return any(version_number(link.name) for link in _own_links(model_dir / SCANN_TREE))


def drop_link(model_dir: Path, version: int) -> None:
    """Takes one version's link away, before the version itself goes."""
    link = model_dir / SCANN_TREE / str(version)
    if link.is_symlink():
        link.unlink()


def _own_links(tree: Path) -> list[Path]:
    """Links that this module made, those of a killed process included; nothing else."""
    if not tree.is_dir():
        return []
    return [
        path
        for path in tree.iterdir()
        if path.is_symlink() and (version_number(path.name) or path.name.startswith(_TEMPORARY))
    ]


def _link(link: Path, target: str) -> None:
    if link.is_symlink() and os.readlink(link) == target:
        return
    link.parent.mkdir(exist_ok=True)
    staging = link.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
    os.symlink(target, staging)
    os.replace(staging, link)
