"""What is served: the newest version, or exactly the labelled ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.bundle.pins import Pins, read_pins
from components.bundle.versions import list_versions


@dataclass(frozen=True)
class Served:
    """The versions that a server must have loaded.

    Attributes:
      versions: growing; the last one answers requests that name none.
      labels: label -> version; empty when the newest version is served.
    """

    versions: tuple[int, ...]
    labels: dict[str, int]

    @property
    def default(self) -> int | None:
        """The version that answers requests without one, None when nothing is published."""
        return self.versions[-1] if self.versions else None


def blocked_moves(before: Served, after: Served) -> list[str]:
    """Returns labels that a running TensorFlow Serving would not move.

    It moves a label in use only to a version that it has loaded, refuses the whole
    configuration otherwise, and so never loads the version either.
    """
    return [
        label
        for label, version in after.labels.items()
        if before.labels.get(label, version) != version and version not in before.versions
    ]


def served(model_dir: str | Path) -> Served:
    """Returns what is served of one model, by its pins and its published versions.

    A labelled version is named even if somebody has removed its folder: a server then
    keeps what it has, instead of going on to a version that nobody chose.

    Args:
      model_dir: `<serving_dir>/<name>`.

    Raises:
      BundleError: the pins cannot be read.
    """
    pins = read_pins(model_dir)
    if pins.labels:
        return served_of(pins, ())
    return served_of(pins, [bundle.version for bundle in list_versions(model_dir)])


def served_of(pins: Pins, published: Iterable[int]) -> Served:
    """Returns what is served under `pins` where the versions `published` exist."""
    if pins.labels:
        return Served(tuple(sorted(set(pins.labels.values()))), dict(pins.labels))
    newest = max(published, default=None)
    return Served(() if newest is None else (newest,), {})
