"""Publishes where a folder cannot be renamed: the SavedModel's graph comes last.

Mounted object stores rename a folder file by file, or refuse. Our readers take an integer
folder for a version once `saved_model.pb` lies in it, so everything else is written and
read back before. TensorFlow Serving takes it for one at once, so `models.config` names
the versions that are whole (`FolderTarget.write`). A journal names the folder that is being
written or removed; the next pusher removes it if its writer was killed.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from components.bundle.manifest import Manifest, write_manifest
from components.bundle.verify import check_file, verify
from components.bundle.versions import SAVED_MODEL
from components.pusher.content import Content
from components.pusher.staging import copy_content, copy_file, staging_path
from core.errors import BundleError, PushError
from core.files import read_json, write_json

JOURNAL_NAME = ".unfinished.json"
#: What file systems answer that cannot rename.
CAN_NOT_RENAME = frozenset({errno.EXDEV, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


def publish_ordered(content: Content, manifest: Manifest, final: Path) -> None:
    """Writes a version in place: all files, the manifest, then the top `saved_model.pb`.

    Raises:
      PushError: something lies at `final` already.
      BundleError: a copy differs from its source; the folder is removed again.
      OSError: the file system refuses; likewise.
    """
    if final.exists():
        raise PushError(f"{final}: exists already; nothing was published")
    journal = final.parent / JOURNAL_NAME
    write_json(journal, {"version": manifest.version})
    try:
        final.mkdir()
        copy_content(content, final, without=frozenset({SAVED_MODEL}))
        write_manifest(final, manifest)
        _complete(content, final)
    except BaseException:
        _delete(final)
        journal.unlink()
        raise
    journal.unlink()


def remove_ordered(final: Path) -> None:
    """Removes a version so that it is none from the first step on."""
    journal = final.parent / JOURNAL_NAME
    write_json(journal, {"version": int(final.name)})
    _delete(final)
    journal.unlink()


def remove_unfinished(model_dir: Path) -> None:
    """Removes the folder that a killed pusher was writing or removing; hold the lock.

    A version that was complete by then stays.

    Raises:
      PushError: the journal cannot be read.
    """
    journal = model_dir / JOURNAL_NAME
    if not journal.exists():
        return
    try:
        folder = model_dir / str(int(read_json(journal)["version"]))
    except (ValueError, KeyError, TypeError) as error:
        raise PushError(
            f"{journal}: cannot be read ({error}); remove it, and the version folder without "
            f"{SAVED_MODEL} beside it"
        ) from error
    if folder.exists() and not _is_whole(folder):
        _delete(folder)
    journal.unlink()


def _complete(content: Content, final: Path) -> None:
    """Lets `saved_model.pb` appear whole, where single files can be renamed."""
    entry, target = content.files[SAVED_MODEL], final / SAVED_MODEL
    staging = staging_path(final.parent)
    try:
        copy_file(content.sources[SAVED_MODEL], staging)
        check_file(staging, entry)
        try:
            os.replace(staging, target)
        except OSError as error:
            if error.errno not in CAN_NOT_RENAME:
                raise
            # An object store shows a file once it is closed.
            copy_file(content.sources[SAVED_MODEL], target)
            check_file(target, entry)
    finally:
        staging.unlink(missing_ok=True)


def _is_whole(folder: Path) -> bool:
    try:
        verify(folder)
    except BundleError:
        return False
    return True


def _delete(folder: Path) -> None:
    (folder / SAVED_MODEL).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
