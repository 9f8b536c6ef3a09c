"""Files in an object store (S3, GCS, or whatever fsspec knows), named by one root URL.

Nothing is cached, trouble that passes is waited out, and every other error becomes one
error that names the URL.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import ConfigError, DataError, TesseraError
from core.files import staged_file
from core.storage_errors import (
    is_missing_bucket,
    is_there_already,
    reason_of,
    retried,
)

#: A folder that workers of Beam on other machines see too: on a volume, or a URL.
SHARED_VARIABLE = "TESSERA_SHARED_DIR"
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")
_CHUNK_BYTES = 16 << 20
_PARALLEL = 8
#: Environment variables that say how to connect.
_VARIABLES = ("AWS_", "GOOGLE_", "FSSPEC_", "GCSFS_", "STORAGE_EMULATOR_HOST")
#: By process, protocol and variables: making one takes a fraction of a second.
_CONNECTIONS: dict[tuple[int, str, int], Any] = {}


def is_remote(path: str | os.PathLike[str] | None) -> bool:
    """Returns whether a path is a URL, such as `s3://bucket/tables`."""
    return isinstance(path, str) and _URL.match(path) is not None


def local_or_url(path: str) -> Path | str:
    """Returns a URL as it is, and anything else as a `Path`, which would mangle a URL."""
    return path.rstrip("/") if is_remote(path) else Path(path)


def expanded(path: str) -> Path | str:
    """Returns a path of a configuration with its `~` replaced, or a URL as it is."""
    found = local_or_url(path)
    return found.expanduser() if isinstance(found, Path) else found


def absolute(path: str) -> str:
    """Returns an absolute path without `~` or links, or a URL as it is."""
    return path.rstrip("/") if is_remote(path) else str(Path(path).expanduser().resolve())


class Entry(NamedTuple):
    """What a store says of something, without a look at its content.

    Attributes:
      size: in bytes, None for a folder.
      mark: changes with the content: its digest where the store has one, else its time.
    """

    size: int | None
    mark: str


class ObjectStore:
    """The objects below one URL; their names are relative to it, with `/` between folders.

    A listing never shows what another process has changed since as it was before. A
    process that was forked gets a connection of its own.
    """

    def __init__(self, url: str, error: type[TesseraError] = DataError) -> None:
        """Names the place; nothing is read yet.

        Args:
          url: `protocol://bucket/folder`.
          error: raised for everything that goes wrong there.

        Raises:
          ConfigError: not a URL, no bucket, or a protocol that is not known.
        """
        found = _URL.match(url)
        if found is None:
            raise ConfigError(
                f"{url}: not a URL; expected s3://bucket/folder or gs://bucket/folder"
            )
        if not url[found.end() :].strip("/"):
            raise ConfigError(f"{url}: names no bucket; expected {found.group(1)}://bucket/folder")
        self.url = url.rstrip("/")
        self.protocol = found.group(1).lower()
        self._error = error
        self._root = str(self._files()._strip_protocol(self.url)).rstrip("/")

    def url_of(self, name: str) -> str:
        """Returns the URL of one object, or of the root for ''."""
        return f"{self.url}/{name}" if name else self.url

    @classmethod
    def beside(cls, url: str) -> tuple[ObjectStore, str]:
        """Returns the store and the name of one object, given by its URL."""
        folder, _, name = url.rpartition("/")
        return cls(folder), name

    def list(self, folder: str = "") -> dict[str, int]:
        """Returns name and size of every object below a folder, sorted by name."""
        place = self._path(folder)

        def find() -> dict[str, Any]:
            found: dict[str, Any] = self._files().find(place, detail=True)
            return found

        entries = self._call(folder, "listed", find, missing={})
        return {
            name: int(entry["size"] or 0)
            for name, entry in sorted((self._name(p), e) for p, e in entries.items())
            if _is_object(entry) and name.startswith(f"{folder}/" if folder else "")
        }

    def children(self, folder: str = "") -> dict[str, int | None]:
        """Returns what lies right in a folder: objects with their size, folders with None."""
        return {name: entry.size for name, entry in self.entries(folder).items()}

    def entries(self, folder: str = "") -> dict[str, Entry]:
        """Returns what lies right in a folder, sorted by name."""
        place = self._path(folder)

        def ls() -> Any:
            return self._files().ls(place, detail=True)

        found: dict[str, Entry] = {}
        for entry in self._call(folder, "listed", ls, missing=[]):
            name = self._name(str(entry["name"]).rstrip("/"))
            inner = name.removeprefix(f"{folder}/") if folder else name
            if not inner or "/" in inner or (inner == name and folder):
                continue  # the folder's own marker
            found[inner] = _entry(entry)
        return dict(sorted(found.items()))

    def entry(self, name: str) -> Entry:
        """Returns what the store says of one object."""
        path = self._path(name)
        return _entry(self._call(name, "read", lambda: self._files().info(path)))

    def size(self, name: str) -> int | None:
        """Returns the size of an object, None where there is no such object."""
        path = self._path(name)
        entry = self._call(name, "read", lambda: self._files().info(path), missing=None)
        return int(entry["size"] or 0) if entry is not None and _is_object(entry) else None

    def read(self, name: str) -> bytes:
        """Returns the content of an object."""
        content = self.read_if_there(name)
        if content is None:
            raise self._error(f"{self.url_of(name)}: does not exist")
        return content

    def read_if_there(self, name: str) -> bytes | None:
        """Returns the content of an object, None where there is no such object."""
        path = self._path(name)

        def cat() -> bytes:
            return bytes(self._files().cat_file(path))

        return self._call(name, "read", cat, missing=None)

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """Returns the bytes from `start` to `end` (exclusive) of an object."""
        if end <= start:
            return b""
        cat = partial(self._files().cat_file, self._path(name), start=start, end=end)
        return bytes(self._call(name, "read", cat))

    def write(self, name: str, content: bytes) -> None:
        """Makes or replaces an object, in one step."""
        path = self._path(name)
        self._call(name, "written", lambda: self._files().pipe_file(path, content))

    def create(self, name: str, content: bytes) -> bool:
        """Makes an object unless there is one of this name; of many callers one succeeds.

        `content` must be unlike that of any other caller: a request whose answer was
        lost is sent again, and only the content tells then who has made the object.

        Returns:
          Whether this call made it.
        """
        path = self._path(name)

        def create() -> bool:
            try:
                self._files().pipe_file(path, content, mode="create")
            except OSError as error:
                if is_there_already(error):
                    return False
                raise
            return True

        return self._call(name, "created", create) or self.read_if_there(name) == content

    def copy(self, source: str, target: str) -> None:
        """Copies an object inside the store; the copy appears whole."""
        paths = self._path(source), self._path(target)
        self._call(target, "written", lambda: self._files().cp_file(*paths))

    def delete(self, names: Iterable[str]) -> None:
        """Deletes objects one by one, in this order; those that are gone already do not matter."""
        for name in names:
            remove = partial(self._files().rm_file, self._path(name))
            self._call(name, "deleted", remove, missing=None)

    def upload(self, source: Path, name: str) -> None:
        """Makes or replaces an object with the content of a local file."""
        path = self._path(name)
        self._call(name, "written", lambda: self._files().put_file(str(source), path))

    def download(self, name: str, target: Path) -> None:
        """Copies an object to a local file, which appears whole."""
        path = self._path(name)
        with staged_file(target) as staging:
            self._call(name, "read", lambda: self._files().get_file(path, str(staging)))

    def download_all(
        self,
        files: Mapping[str, int],
        folder: Path,
        advance: Callable[[], object] | None = None,
    ) -> None:
        """Copies objects to `folder/<name>`, several at a time.

        Args:
          files: sizes by name, as they were listed.
          folder: where they go.
          advance: called after each one.

        Raises:
          TesseraError: one cannot be read or is of another size now, or the disk is full.
        """
        self._require_space(sum(files.values()), folder)

        def fetch(name: str) -> None:
            self.download(name, folder / name)
            size = (folder / name).stat().st_size
            if size != files[name]:
                raise self._error(
                    f"{self.url_of(name)}: {size} bytes were read, {files[name]} were listed; "
                    "it is being written: try again when it is complete"
                )

        self._files()  # one connection for all threads
        with ThreadPoolExecutor(_PARALLEL) as pool:
            try:
                for done in [pool.submit(fetch, name) for name in files]:
                    done.result()
                    if advance is not None:
                        advance()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def digest(self, name: str, size: int) -> str:
        """Returns the SHA-256 of an object's first `size` bytes, read back from the store."""
        digest, path = hashlib.sha256(), self._path(name)
        for start in range(0, size, _CHUNK_BYTES):
            end = min(size, start + _CHUNK_BYTES)
            cat = partial(self._files().cat_file, path, start=start, end=end)
            digest.update(self._call(name, "read back", cat))
        return digest.hexdigest()

    def _call(self, name: str, done: str, call: Callable[[], Any], **missing: Any) -> Any:
        """Calls the store.

        Args:
          name: of the object.
          done: what could not be done with it, for the error.
          call: what to do.
          **missing: `missing` is returned where there is no such object.
        """
        try:
            # gcsfs itself waits and tries again.
            return retried(call, attempts=1 if self.protocol in ("gs", "gcs") else None)
        except Exception as error:
            absent = isinstance(error, FileNotFoundError) and not is_missing_bucket(error)
            if absent and "missing" in missing:
                return missing["missing"]
            raise self._error(
                f"{self.url_of(name)}: cannot be {done}: {reason_of(error, self.protocol)}"
            ) from error

    def _require_space(self, needed: int, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise self._error(
                f"{self.url}: {needed / 1e6:,.0f} MB are to be copied to {folder.parent}, where "
                f"{free / 1e6:,.0f} MB are free; set TMPDIR to a folder on a larger disk"
            )

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _name(self, path: str) -> str:
        return path.removeprefix(self._root).removeprefix("/")

    def _files(self) -> Any:
        """Returns this process's connection: a forked child cannot use its parent's."""
        variables = {k: v for k, v in os.environ.items() if k.startswith(_VARIABLES)}
        key = (os.getpid(), self.protocol, hash(frozenset(variables.items())))
        if key not in _CONNECTIONS:
            _CONNECTIONS[key] = _connect(self.protocol, self.url)
        return _CONNECTIONS[key]


def unique_text() -> str:
    """Returns a text that nobody else has, for `ObjectStore.create`."""
    return uuid.uuid4().hex


def _connect(protocol: str, url: str) -> Any:
    # Imported here: every command would wait for it.
    import fsspec

    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if protocol in ("s3", "s3a"):
        configured = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        # `retried` does it, with the same waits for every kind of trouble.
        once = {"retries": {"total_max_attempts": 1}, "read_timeout": 60, "connect_timeout": 10}
        options["config_kwargs"] = {**once, **configured}
    elif protocol in ("file", "local"):
        options["auto_mkdir"] = True
    try:
        files = fsspec.filesystem(protocol, **options)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{url}: {error}; s3:// and gs:// are known") from error
    if protocol in ("s3", "s3a"):
        files.retries = 1
    return files


def _is_object(entry: Mapping[str, Any]) -> bool:
    return entry["type"] == "file" and not str(entry["name"]).endswith("/")


def _entry(entry: Mapping[str, Any]) -> Entry:
    if not _is_object(entry):
        return Entry(None, "")
    # Amazon's, then Google's; the rest know a time at best.
    known = ("ETag", "md5Hash", "crc32c", "mtime", "created", "LastModified")
    mark = next((str(entry[key]) for key in known if entry.get(key)), "")
    return Entry(int(entry["size"] or 0), mark.strip('"'))
