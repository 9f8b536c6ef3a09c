"""Opens a published bundle and proves that it is whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from components.bundle.manifest import MANIFEST_NAME, FileEntry, Manifest, read_manifest
from components.bundle.mirror import complete
from components.bundle.versions import latest_version, scan
from core.digest import file_sha256
from core.errors import BundleError
from core.progress import track

_MEND = "the bundle is damaged: use another version or publish it again"


@dataclass(frozen=True)
class VerifiedBundle:
    """A verified bundle."""

    path: Path
    manifest: Manifest


def tree_files(directory: str | Path) -> list[str]:
    """Returns the relative paths (`/` between folders) of all files below a folder, sorted."""
    root = Path(directory)
    found = []
    for folder, _, names in os.walk(root, followlinks=False):
        found += [(Path(folder) / name).relative_to(root).as_posix() for name in names]
    return sorted(found)


def verify(version_dir: str | Path) -> Manifest:
    """Checks the manifest, then every file against it.

    In the mirror of an object store the files are downloaded first.

    Returns:
      The manifest.

    Raises:
      BundleError: naming the first file that is missing, changed or not listed.
    """
    root = Path(version_dir)
    manifest = read_manifest(root)
    complete(root)
    present = set(tree_files(root)) - {MANIFEST_NAME}
    for name in sorted(manifest.files.keys() - present):
        raise BundleError(f"{root / name}: listed in the manifest, but missing; {_MEND}")
    for name in sorted(present - manifest.files.keys()):
        raise BundleError(f"{root / name}: not listed in the manifest; {_MEND}")
    with track("verifying the bundle", total=len(manifest.files)) as bar:
        for name, entry in manifest.files.items():
            check_file(root / name, entry)
            bar.advance()
    return manifest


def check_file(path: Path, entry: FileEntry) -> None:
    """Raises BundleError unless the file has the recorded size and SHA-256."""
    try:
        size = path.stat().st_size
        digest = file_sha256(path) if size == entry.bytes else ""
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    if size != entry.bytes:
        raise BundleError(f"{path}: {size} bytes, the manifest says {entry.bytes}; {_MEND}")
    if digest != entry.sha256:
        raise BundleError(
            f"{path}: its content does not match the manifest (sha256 {digest[:12]}..., "
            f"expected {entry.sha256[:12]}...); {_MEND}"
        )


def resolve_version_dir(path: str | Path) -> Path:
    """Finds the version folder that a user means.

    Args:
      path: a version folder, the folder of a model's versions (the newest is
        taken) or a serving folder that holds exactly one model.

    Raises:
      BundleError: nothing published there, or more than one model.
    """
    root = Path(path)
    if not root.is_dir():
        raise BundleError(f"{root}: no such folder; give --bundle the path that the run printed")
    if (root / MANIFEST_NAME).exists() or (root / "saved_model.pb").exists():
        return root
    latest = latest_version(root)
    if latest is not None:
        return latest.path
    folders = (folder for folder in sorted(root.iterdir()) if folder.is_dir())
    models = [newest for newest in map(latest_version, folders) if newest is not None]
    if len(models) > 1:
        names = ", ".join(bundle.path.parent.name for bundle in models)
        raise BundleError(
            f"{root}: holds several models ({names}); name one: {models[0].path.parent}"
        )
    if not models:
        broken = "; ".join(scan(root)[1].values())
        raise BundleError(f"{root}: no published version here{'; ' + broken if broken else ''}")
    return models[0].path


def open_bundle(path: str | Path) -> VerifiedBundle:
    """Resolves `path` (see `resolve_version_dir`) and verifies what it finds."""
    version_dir = resolve_version_dir(path)
    return VerifiedBundle(version_dir, verify(version_dir))
