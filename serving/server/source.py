"""Which versions ought to be served, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from components.bundle.manifest import read_manifest
from components.bundle.mirror import pull, pull_all, shown, start_mirror
from components.bundle.model_config import read_config
from components.bundle.opened import locate
from components.bundle.served import Served, served
from components.bundle.verify import resolve_version_dir, verify
from components.bundle.versions import numbered_folders, written_in_place
from core.errors import BundleError


@dataclass(frozen=True)
class Aspired:
    """What ought to be served.

    Attributes:
      folders: version -> folder of its bundle.
      labels: label -> version.
    """

    folders: dict[int, Path]
    labels: dict[str, int] = field(default_factory=dict)


class VersionSource(Protocol):
    """Says again and again what ought to be served."""

    @property
    def name(self) -> str:
        """Name of the model."""

    def aspired(self) -> Aspired:
        """Returns what ought to be served now.

        Raises:
          BundleError: it cannot be told; what is served stays.
        """


class ModelFolder:
    """The versions of one model, `<serving_dir>/<name>/`, as `models.config` would have them.

    By TensorFlow Serving's rules: labelled versions and those that the configuration names,
    otherwise the largest number there is, whatever lies in that folder.
    """

    def __init__(self, model_dir: Path) -> None:
        """Watches a folder; it may still be empty."""
        self._folder = model_dir
        self.name = model_dir.name

    def aspired(self) -> Aspired:
        """See `Source.aspired`."""
        told = read_config(self._folder.parent)
        now = told[self.name] if self.name in told else self._by_pins()
        there = numbered_folders(self._folder)
        if now is None:
            return Aspired(dict(sorted(there.items())[-1:]))
        folders = {v: there.get(v, self._folder / str(v)) for v in now.versions}
        return Aspired(folders, dict(now.labels))

    def _by_pins(self) -> Served | None:
        """What a configuration would say; for a folder that nothing was ever pushed to."""
        now = served(self._folder)
        return now if now.labels or written_in_place(self._folder) else None


class RemoteModel:
    """The versions of one model under a URL, downloaded as they are to be served."""

    def __init__(self, url: str, name: str | None, cache: Path) -> None:
        """Looks at what lies there.

        Args:
          url: of a serving folder, a model or a version.
          name: of the model; None where the URL says it.
          cache: empty folder that gets what is served.

        Raises:
          BundleError: nothing is published there, or several models are and none is named.
        """
        place = locate(url)
        self._version = None if place.version is None else int(place.version)
        found = name or place.name
        start_mirror(place.serving_dir, cache)
        if found is None:
            pull_all(cache)
            found = resolve_version_dir(cache).parent.name
        self.name = found
        self._folder = cache / found
        self.aspired()

    def aspired(self) -> Aspired:
        """See `Source.aspired`."""
        pull(self._folder)
        now = served(self._folder)
        versions = now.versions if self._version is None else (self._version,)
        folders = {version: self._folder / str(version) for version in versions}
        for folder in folders.values():
            verify(folder)  # downloads what is not here yet
        if not folders:
            raise BundleError(f"{shown(self._folder)}: no published version here")
        return Aspired(folders, dict(now.labels) if self._version is None else {})


class OneBundle:
    """One version that never changes, wherever it lies."""

    def __init__(self, folder: Path) -> None:
        """Reads the manifest of the bundle.

        Raises:
          BundleError: there is none.
        """
        manifest = read_manifest(folder)
        self.name = manifest.name
        self._aspired = Aspired({manifest.version: folder})

    def aspired(self) -> Aspired:
        """See `Source.aspired`."""
        return self._aspired
