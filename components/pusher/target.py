"""How versions come and go: in a folder here, in an object store `components.pusher.remote`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from components.bundle.labels import derive
from components.bundle.manifest import Manifest
from components.bundle.versions import write_last_version
from components.pusher.content import Content
from components.pusher.ordered import CAN_NOT_RENAME, publish_ordered, remove_unfinished
from components.pusher.retention import remove_version
from components.pusher.staging import copy_content, publish, remove_staged, staging_folder

_log = logging.getLogger("tessera")


class PushTarget(Protocol):
    """Where a push writes; `model_dir` is the folder that readers of versions see."""

    def clean(self, model_dir: Path) -> None:
        """Removes what killed pushers left behind."""

    def claim(self, version: int) -> int:
        """Takes a number that nobody else gets, `version` or a larger one."""

    def write(
        self, content: Content, manifest: Manifest, model_dir: Path, refusal: Callable[[], str]
    ) -> None:
        """Makes a version visible, whole or not at all.

        Args:
          content: the files.
          manifest: what the version is.
          model_dir: see the class.
          refusal: why the version may not appear after all, '' when it may; asked at the
            last moment where others may have published since the push began.
        """

    def remove(self, path: Path) -> None:
        """Takes a version away, so that it is none from the first step on."""


class FolderTarget:
    """A folder; its lock is held, so numbers are free and nobody else publishes."""

    def __init__(self, ordered: bool) -> None:
        """Says whether files are written in place (`pusher.publish: ordered`)."""
        self._ordered = ordered

    def clean(self, model_dir: Path) -> None:
        """See base class."""
        remove_staged(model_dir)
        remove_unfinished(model_dir)

    def claim(self, version: int) -> int:
        """See base class."""
        return version

    def write(
        self, content: Content, manifest: Manifest, model_dir: Path, refusal: Callable[[], str]
    ) -> None:
        """Makes the version appear by a rename or, where that does not exist, in order."""
        final = model_dir / str(manifest.version)
        write_last_version(model_dir, manifest.version)
        if self._ordered:
            _name_versions(model_dir, manifest.version)
            publish_ordered(content, manifest, final)
            return
        with staging_folder(model_dir) as staging:
            copy_content(content, staging)
            try:
                publish(staging, manifest, final)
                return
            except OSError as error:
                if error.errno not in CAN_NOT_RENAME:
                    raise
                _log.warning(
                    "%s: folders cannot be renamed here (%s), so the version is written in "
                    "place; `pusher.publish: ordered` saves the first copy",
                    model_dir,
                    error.strerror,
                )
        _name_versions(model_dir, manifest.version)
        publish_ordered(content, manifest, final)

    def remove(self, path: Path) -> None:
        """See base class."""
        remove_version(path, self._ordered)


def _name_versions(model_dir: Path, version: int) -> None:
    """Lets `models.config` name versions, before one grows where a server would see it."""
    write_last_version(model_dir, version, in_place=True)
    derive(model_dir)
