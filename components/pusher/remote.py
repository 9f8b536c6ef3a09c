"""Publishes to an object store, where there is neither a rename nor a lock.

A number is claimed by the exclusive creation of `claims/<version>.json`: of many pushers
one gets it, and nobody ever again. Then all files are uploaded and read back, the
manifest after them, and the top `saved_model.pb` last: until then none of our readers
takes the folder for a version. TensorFlow Serving would take any folder with a number for
one, so `models.config` names the versions that are whole, and is written afterwards. The
graph is read back beside the claim and copied inside the store, so it appears whole and
checked. A version that goes loses `saved_model.pb` first.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from components.bundle.manifest import MANIFEST_NAME, FileEntry, Manifest, manifest_text
from components.bundle.mirror import pull
from components.bundle.pins import read_pins
from components.bundle.reports import report_name
from components.bundle.versions import (
    LAST_VERSION_NAME,
    SAVED_MODEL,
    last_version,
    version_number,
)
from components.pusher.content import Content
from core.errors import BundleError, PushError, TesseraError
from core.progress import track
from core.storage import ObjectStore, unique_text

CLAIMS = "claims"
#: What a killed pusher left is removed this long after its claim.
ABANDONED = dt.timedelta(hours=24)
#: A pusher that is still at work by then gives up, before another may clean up after it.
LONGEST = dt.timedelta(hours=23)
_FOLDER = re.compile(r"[0-9]+/")
_log = logging.getLogger("tessera")


class StoreTarget:
    """See `components.pusher.target.PushTarget`; `model_dir` is a mirror there."""

    def __init__(self, url: str, now: Callable[[], dt.datetime]) -> None:
        """Names the place.

        Args:
          url: `<serving_dir>/<name>`.
          now: the clock, UTC.
        """
        self._store = ObjectStore(url, BundleError)
        self._now = now
        self._deadline = 0.0

    def clean(self, model_dir: Path) -> None:
        """Removes what killed pushers left behind, a day after their claim."""
        objects = self._store.list()
        numbers = {n for n in map(_number, objects) if n is not None}
        staged = {n for n in numbers if _staged(n) in objects}
        begun = {int(n.partition("/")[0]) for n in objects if _FOLDER.match(n)}
        hidden = {n for n in begun if f"{n}/{SAVED_MODEL}" not in objects}
        for number in sorted(staged | hidden):
            if _claim(number) not in objects or not self._is_old(_claim(number)):
                continue
            folder = f"{number}/"
            doomed = [n for n in objects if n.startswith(folder)] if number in hidden else []
            if doomed or number in staged:
                _log.info("%s: removed, its upload or removal was not ended", self._url(number))
            self._store.delete([*doomed, *([_staged(number)] if number in staged else [])])

    def claim(self, version: int) -> int:
        """Takes the smallest number above all that were ever given."""
        taken = {n for n in map(_number, self._store.list()) if n is not None}
        for number in itertools.count(max({version - 1} | taken) + 1):
            if self._create(number):
                break
        self._deadline = time.monotonic() + LONGEST.total_seconds()
        self._require_exclusive(number)
        # For those who publish to the same bucket as a mounted folder; claims count here.
        text = json.dumps(last_version(number, in_place=True))
        self._store.write(LAST_VERSION_NAME, text.encode())
        return number

    def write(
        self, content: Content, manifest: Manifest, model_dir: Path, refusal: Callable[[], str]
    ) -> None:
        """Uploads a version; it is visible with the last write, or never."""
        number = manifest.version
        try:
            self._upload(content, number)
            text = manifest_text(manifest).encode()
            self._store.write(f"{number}/{MANIFEST_NAME}", text)
            self._require_all(number, content.files, len(text))
            pull(model_dir)
            reason = refusal()
            if reason:
                raise PushError(reason)
            self._show(number, content.files[SAVED_MODEL])
            pull(model_dir)
        except BaseException:
            self._abandon(number)
            raise
        try:
            self._store.delete([_staged(number)])
        except TesseraError as error:
            _log.warning("the push has succeeded, but a copy beside it stays: %s", error)

    def remove(self, path: Path) -> None:
        """Takes a version away, unless somebody has labelled or pinned it meanwhile."""
        number = int(path.name)
        pull(path.parent)
        if number in read_pins(path.parent).kept:
            raise BundleError(f"{self._url(number)}: labelled or pinned meanwhile, so it stays")
        # Without a claim nobody would clean up after a removal that is stopped half-way.
        self._create(number)
        self._delete(number)
        shutil.rmtree(path, ignore_errors=True)

    def _upload(self, content: Content, number: int) -> None:
        """Uploads every file and reads it back; the graph beside the claim.

        Files that are taken over from a published version are copied inside the store.
        """
        names = [name for name in content.files if name != SAVED_MODEL]
        keys = {name: f"{number}/{name}" for name in names} | {SAVED_MODEL: _staged(number)}
        with track("publishing", total=2 * len(keys)) as bar:
            for name, key in keys.items():
                if name in content.kept:
                    self._store.copy(f"{content.base}/{name}", key)
                else:
                    self._store.upload(content.sources[name], key)
                bar.advance()
            for name, key in keys.items():
                self._check(key, content.files[name], copied=name in content.kept)
                bar.advance()

    def _check(self, key: str, entry: FileEntry, copied: bool = False) -> None:
        """Reads an object back; of one that the store copied the size is enough."""
        size = self._store.size(key)
        if size == entry.bytes and (copied or self._store.digest(key, size) == entry.sha256):
            return
        raise BundleError(
            f"{self._store.url_of(key)}: what was read back is not what was written "
            f"({size} bytes, {entry.bytes} were sent)"
        )

    def _require_all(
        self, number: int, files: Mapping[str, FileEntry], manifest_bytes: int
    ) -> None:
        """Refuses where somebody has changed or removed what was uploaded."""
        wanted = {f"{number}/{n}": entry.bytes for n, entry in files.items() if n != SAVED_MODEL}
        wanted[f"{number}/{MANIFEST_NAME}"] = manifest_bytes
        found = self._store.list(str(number))
        if found != wanted:
            name = sorted({*found.items()} ^ {*wanted.items()})[0][0]
            raise BundleError(
                f"{self._store.url_of(name)}: was changed or removed by somebody else while the "
                "version was uploaded"
            )
        if time.monotonic() > self._deadline:
            raise PushError(f"the upload took more than {LONGEST.total_seconds() / 3600:g} hours")

    def _show(self, number: int, entry: FileEntry) -> None:
        """Lets the version appear."""
        final = f"{number}/{SAVED_MODEL}"
        self._store.copy(_staged(number), final)
        self._check(final, entry)

    def _abandon(self, number: int) -> None:
        try:
            self._delete(number)
            self._store.delete([_staged(number)])
        except TesseraError as error:
            hours = ABANDONED.total_seconds() / 3600
            _log.warning(
                "%s: what was uploaded is removed by a push %g hours from now: %s",
                self._url(number),
                hours,
                error,
            )

    def _delete(self, number: int) -> None:
        """Deletes a version; without its graph and its manifest it is none."""
        first = [f"{number}/{SAVED_MODEL}", f"{number}/{MANIFEST_NAME}"]
        self._store.delete(first)
        self._store.delete([*self._store.list(str(number)), report_name(number)])

    def _create(self, number: int) -> bool:
        created = self._now().isoformat(timespec="seconds")
        claim = {"version": number, "created_at": created, "by": unique_text()}
        return self._store.create(_claim(number), json.dumps(claim).encode())

    def _require_exclusive(self, number: int) -> None:
        """Refuses a store that would give one number twice."""
        if self._store.create(_claim(number), unique_text().encode()):
            raise PushError(
                f"{self._store.url_of(_claim(number))}: was replaced although it exists; this "
                "store cannot create an object exclusively (If-None-Match), so two pushers "
                "could mix their files: use one that can, or mount it as a folder and set "
                "pusher.publish to ordered"
            )

    def _is_old(self, claim: str) -> bool:
        content = self._store.read_if_there(claim)
        try:
            created = dt.datetime.fromisoformat(json.loads(content or b"")["created_at"])
            return self._now() - created > ABANDONED
        except (ValueError, KeyError, TypeError) as error:
            _log.warning(
                "%s: cannot be read as a claim (%s); remove it, and what lies in that version's "
                "folder, by hand",
                self._store.url_of(claim),
                error,
            )
            return False

    def _url(self, number: int) -> str:
        return self._store.url_of(str(number))


def _claim(number: int) -> str:
    return f"{CLAIMS}/{number}.json"


def _staged(number: int) -> str:
    return f"{CLAIMS}/{number}.pb"


def _number(name: str) -> int | None:
    """Returns the number that an object takes: as a part of a version, or as its claim."""
    folder, _, rest = name.partition("/")
    if folder == CLAIMS:
        return version_number(Path(rest).stem)
    return int(folder) if rest and folder.isascii() and folder.isdigit() else None
