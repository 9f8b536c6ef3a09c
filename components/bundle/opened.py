"""Opens what a user names: a version, a model or a serving folder, here or under a URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from components.bundle.manifest import MANIFEST_NAME
from components.bundle.mirror import mirrored
from components.bundle.pins import PINS_NAME
from components.bundle.verify import VerifiedBundle, open_bundle
from components.bundle.versions import LAST_VERSION_NAME, SAVED_MODEL, version_number
from core.errors import BundleError
from core.storage import ObjectStore, is_remote


class Location(NamedTuple):
    """What a URL stands for.

    Attributes:
      serving_dir: URL of the serving folder.
      name: the model, None where the URL is that of the serving folder.
      version: None where the URL is that of a model or of the serving folder.
    """

    serving_dir: str
    name: str | None
    version: str | None


def locate(url: str) -> Location:
    """Tells a version, a model and a serving folder apart by what lies there.

    Raises:
      BundleError: nothing lies there, or the store cannot be read.
    """
    store = ObjectStore(url, BundleError)
    children = store.children()
    if not children:
        raise BundleError(f"{store.url}: nothing is there; nothing was published there")
    parent, _, last = store.url.rpartition("/")
    if {MANIFEST_NAME, SAVED_MODEL} & children.keys():
        above, _, name = parent.rpartition("/")
        return Location(above, name, last)
    folders = [name for name, size in children.items() if size is None]
    if {PINS_NAME, LAST_VERSION_NAME} & children.keys() or any(map(version_number, folders)):
        return Location(parent, last, None)
    return Location(store.url, None, None)


@contextmanager
def opened_bundle(path: str | Path) -> Iterator[VerifiedBundle]:
    """Yields a verified bundle; one under a URL is downloaded and goes with the block.

    Args:
      path: see `components.bundle.verify.resolve_version_dir`; may be a URL.

    Raises:
      BundleError: nothing is published there, it is damaged, or the store cannot be read.
    """
    if not is_remote(path):
        yield open_bundle(path)
        return
    place = locate(str(path))
    with mirrored(place.serving_dir, place.name) as root:
        yield open_bundle(root.joinpath(*filter(None, (place.name, place.version))))


@contextmanager
def version_folder(path: str) -> Iterator[Path]:
    """Yields the folder of a version; one under a URL is downloaded and verified first.

    Raises:
      BundleError: what lies under a URL is gone, damaged or cannot be read.
    """
    if not is_remote(path):
        yield Path(path)
        return
    with opened_bundle(path) as bundle:
        yield bundle.path
