"""Which versions ought to be served, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from components.bundle.manifest import read_manifest
from components.bundle.served import served


@dataclass(frozen=True)
class Aspired:
    """What ought to be served.

    Attributes:
      folders: version -> folder of its bundle.
      labels: label -> version.
    """

    folders: dict[int, Path]
    labels: dict[str, int] = field(default_factory=dict)


class Source(Protocol):
    """Says again and again what ought to be served."""

    @property
    def name(self) -> str:
        """Name of the model."""

    def aspired(self) -> Aspired:
        """Returns what ought to be served now.

        Raises:
          BundleError: it can not be told; what is served stays.
        """


class ModelFolder:
    """The versions of one model, `<serving_dir>/<name>/`: the newest, or the labelled ones."""

    def __init__(self, model_dir: Path) -> None:
        """Watches a folder; it may still be empty."""
        self._folder = model_dir
        self.name = model_dir.name

    def aspired(self) -> Aspired:
        """See `Source.aspired`."""
        now = served(self._folder)
        return Aspired({v: self._folder / str(v) for v in now.versions}, dict(now.labels))


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
