"""A serving folder in an object store, mirrored so that everything else can read it.

The mirror is a temporary folder that holds what decides: every manifest, the pins, the
largest number given, and an empty `saved_model.pb` for each version that has one. All
that reads a serving folder works on it unchanged. `complete` downloads a whole version,
and `verify` calls it, so files are fetched when they are looked at. A hidden file says
where a mirror's original is; folders without it are no mirrors, and nothing here
touches them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.bundle.manifest import MANIFEST_NAME, read_manifest
from components.bundle.pins import PINS_NAME
from components.bundle.versions import LAST_VERSION_NAME, SAVED_MODEL, version_number
from core.errors import BundleError, TesseraError
from core.files import read_json, write_json
from core.storage import ObjectStore, is_remote

_ORIGIN_NAME = ".tessera-mirror.json"
#: A version's folder, its model's, the serving folder: how far up the hidden file may lie.
_LEVELS = 4


@contextmanager
def mirrored(serving_dir: str | Path, name: str | None = None) -> Iterator[Path]:
    """Yields a folder that can be read as the serving folder; for a local one itself.

    Errors that leave the block name the URL instead of the mirror, which is gone then.

    Args:
      serving_dir: a path, or a URL in an object store.
      name: the model to mirror; None mirrors all of them.

    Raises:
      BundleError: the store cannot be read.
    """
    if not is_remote(serving_dir):
        yield Path(serving_dir)
        return
    store = ObjectStore(str(serving_dir), BundleError)
    with tempfile.TemporaryDirectory(prefix="tessera-serving-") as folder:
        root = Path(folder).resolve()
        start_mirror(store.url, root)
        try:
            if name is None:
                pull_all(root)
            else:
                pull(root / name)
            yield root
        except TesseraError as error:
            error.args = (str(error).replace(str(root), store.url),)
            raise


def start_mirror(url: str, folder: Path) -> None:
    """Makes an empty folder the mirror of a serving folder; `pull` fills it.

    Raises:
      BundleError: the URL is none.
    """
    write_json(folder / _ORIGIN_NAME, {"url": ObjectStore(url, BundleError).url})


def origin(path: Path) -> ObjectStore | None:
    """Returns what a path inside a mirror stands for, None for a path in no mirror."""
    root = _mirror_of(path)
    return None if root is None else ObjectStore(shown(path), BundleError)


def shown(path: Path) -> str:
    """Returns a path as it is told to people: the URL of what it mirrors, or itself."""
    root = _mirror_of(path)
    return str(path) if root is None else told(os.path.abspath(path), path)


def told(text: str, path: Path) -> str:
    """Returns a text with the URL in place of the mirror that `path` lies in, if it does."""
    root = _mirror_of(path)
    if root is None:
        return text
    return text.replace(str(root), str(read_json(root / _ORIGIN_NAME)["url"]))


def _mirror_of(path: Path) -> Path | None:
    path = Path(os.path.abspath(path))
    for parent in (path, *path.parents[: _LEVELS - 1]):
        if (parent / _ORIGIN_NAME).is_file():
            return parent
    return None


def pull(model_dir: Path) -> None:
    """Makes the mirror of a model what the original is now; nothing to do for other folders.

    Versions that were completed stay complete.
    """
    store = origin(model_dir)
    if store is None:
        return
    objects = store.list()
    model_dir.mkdir(parents=True, exist_ok=True)
    for name in (PINS_NAME, LAST_VERSION_NAME):
        _pull_file(store, name, model_dir, name in objects)
    there = {number for number in map(_version_of, objects) if number is not None}
    for folder in model_dir.iterdir():
        if folder.is_dir() and version_number(folder.name) not in there:
            shutil.rmtree(folder)
    for number in sorted(there):
        _pull_version(store, model_dir, number, objects)


def pull_all(serving_dir: Path) -> None:
    """Pulls every model of a mirrored serving folder; nothing to do for other folders."""
    store = origin(serving_dir)
    if store is None:
        return
    for name, size in store.children().items():
        if size is None and not name.startswith("."):
            folder = serving_dir / name
            pull(folder)
            if not any(folder.iterdir()):
                folder.rmdir()  # SeaweedFS keeps naming folders whose objects are gone


def complete(version_dir: Path) -> None:
    """Downloads all files of a mirrored version; nothing to do for other folders.

    A file that no manifest lists becomes an empty one, which `verify` refuses.

    Raises:
      BundleError: a file cannot be read, or was replaced in between.
    """
    placeholder = version_dir / SAVED_MODEL
    # A real graph is never empty.
    if not placeholder.is_file() or placeholder.stat().st_size:
        return
    store = origin(version_dir)
    if store is None:
        return
    objects = store.list()
    files = read_manifest(version_dir).files
    for name in objects.keys() - files.keys() - {MANIFEST_NAME}:
        _touch(version_dir / name)
    listed = {name: size for name, size in objects.items() if name in files}
    graph = {name: listed.pop(name) for name in (SAVED_MODEL,) if name in listed}
    store.download_all(listed, version_dir)
    # Last: until then the version counts as one of which only the placeholder is here.
    store.download_all(graph, version_dir)


def send(folder: Path, name: str, before: bytes | None = None, guarded: bool = False) -> None:
    """Writes a file of a mirror to the original, if it differs; nothing to do elsewhere.

    Args:
      folder: the mirror's folder of the file.
      name: of the file.
      before: content of the original that the change started from.
      guarded: refuse where the original is not as it was in `before`.

    Raises:
      BundleError: somebody else has changed it meanwhile, or it cannot be written.
    """
    store = origin(folder)
    if store is None:
        return
    content = (folder / name).read_bytes()
    present = store.read_if_there(name)
    if guarded and present != before:
        raise BundleError(
            f"{store.url_of(name)}: somebody else has changed it just now; nothing was changed, "
            "run the same command again"
        )
    if present != content:
        store.write(name, content)


def content_of(path: Path) -> bytes | None:
    """Returns a file's content, None where it does not exist."""
    return path.read_bytes() if path.is_file() else None


def _version_of(name: str) -> int | None:
    """Returns the version that an object shows: its manifest or its graph.

    A folder without both is no version: it is being uploaded, or was removed.
    """
    folder, _, file = name.partition("/")
    return version_number(folder) if file in (MANIFEST_NAME, SAVED_MODEL) else None


def _pull_version(
    store: ObjectStore, model_dir: Path, number: int, objects: dict[str, int]
) -> None:
    folder = model_dir / str(number)
    manifest, graph = f"{number}/{MANIFEST_NAME}", f"{number}/{SAVED_MODEL}"
    # A manifest never changes while its version is there: numbers are given once.
    if manifest not in objects or not (folder / MANIFEST_NAME).exists():
        _pull_file(store, manifest, model_dir, manifest in objects)
    if graph not in objects:
        (folder / SAVED_MODEL).unlink(missing_ok=True)
    elif not (folder / SAVED_MODEL).exists():
        _touch(folder / SAVED_MODEL)


def _pull_file(store: ObjectStore, name: str, target: Path, there: bool) -> None:
    content = store.read_if_there(name) if there else None
    path = target / name
    if content is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
