"""Version folders of one model: `<serving_dir>/<name>/<version>/`."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from components.bundle.manifest import Manifest, read_manifest
from core.errors import BundleError
from core.files import write_json

LAST_VERSION_NAME = "last_version.json"
SAVED_MODEL = "saved_model.pb"
_VERSION = re.compile(r"[1-9][0-9]*")


@dataclass(frozen=True)
class BundleVersion:
    """One published version."""

    version: int
    path: Path
    manifest: Manifest


def version_number(name: str) -> int | None:
    """Returns the version of a folder name, or None when it is not a plain integer."""
    return int(name) if _VERSION.fullmatch(name) else None


def list_versions(model_dir: str | Path) -> list[BundleVersion]:
    """Returns the published versions, smallest first.

    Only plain-integer folders whose manifest is valid and names that version, and
    that hold the SavedModel's graph, count. File contents are not read; see
    `components.bundle.verify`.
    """
    return scan(model_dir)[0]


def latest_version(model_dir: str | Path) -> BundleVersion | None:
    """Returns the newest published version, or None."""
    versions = list_versions(model_dir)
    return versions[-1] if versions else None


def scan(model_dir: str | Path) -> tuple[list[BundleVersion], dict[int, str]]:
    """Returns the published versions and, of integer folders that are none, the reasons."""
    found, broken = [], {}
    for name in _names(model_dir):
        number = version_number(name)
        if number is None:
            continue
        path = Path(model_dir) / name
        try:
            manifest = read_manifest(path)
            if manifest.version != number:
                raise BundleError(f"{path}: its manifest says version {manifest.version}")
            # Where folders cannot be renamed it is written last (`pusher.publish: ordered`).
            if not (path / SAVED_MODEL).exists():
                raise BundleError(f"{path}: no {SAVED_MODEL}: it is being published or removed")
        except BundleError as error:
            broken[number] = str(error)
        else:
            found.append(BundleVersion(number, path, manifest))
    return sorted(found, key=lambda bundle: bundle.version), broken


def numbered_folders(model_dir: str | Path) -> dict[int, Path]:
    """Returns what TensorFlow Serving takes for versions: folders whose names are numbers.

    What lies in them does not matter to it (`file_system_storage_path_source.cc` of 2.16.1):
    a half-written one is loaded, fails, and is not tried again until it changes.
    """
    names = (name for name in _names(model_dir) if name.isascii() and name.isdigit())
    return {int(name): Path(model_dir) / name for name in names}


def next_version(model_dir: str | Path) -> int:
    """Returns a number above every folder there is and every number ever given.

    Folders whose name is digits count even when they are no valid bundle
    (`007` is 7): a server would take them for versions.
    """
    return max([*numbered_folders(model_dir), read_last_version(model_dir)], default=0) + 1


def read_last_version(model_dir: str | Path) -> int:
    """Returns the largest number ever given, 0 when none was."""
    path = Path(model_dir) / LAST_VERSION_NAME
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["version"])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f'{path}: cannot be read ({error}); write {{"version": N}} with the largest '
            "version ever published"
        ) from error


def write_last_version(model_dir: str | Path, version: int, in_place: bool = False) -> None:
    """Records that `version` was given, so that it is never given again.

    Args:
      model_dir: folder of the versions.
      version: the number.
      in_place: see `written_in_place`.
    """
    write_json(Path(model_dir) / LAST_VERSION_NAME, last_version(version, in_place))


def last_version(version: int, in_place: bool) -> dict[str, int | bool]:
    """Returns the content of `last_version.json`; see `write_last_version`."""
    return {"version": version, "in_place": in_place}


def written_in_place(model_dir: str | Path) -> bool:
    """Returns whether versions grow under their own number here, because no folder can be renamed.

    A server must then be told which versions there are: it would load a half-written one.
    """
    try:
        text = (Path(model_dir) / LAST_VERSION_NAME).read_text(encoding="utf-8")
        return bool(json.loads(text).get("in_place", False))
    except (OSError, ValueError, AttributeError):
        return False


def _names(model_dir: str | Path) -> list[str]:
    try:
        with os.scandir(model_dir) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
