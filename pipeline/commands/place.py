"""Options that say which model's versions a command is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from components.bundle.versions import scan
from core.errors import BundleError


@dataclass(frozen=True)
class Place:
    """Where the caller says that versions are."""

    serving_dir: Path | None = None
    name: str | None = None
    conf: Path | None = None

    def or_else(self, other: Place) -> Place:
        """Returns this place, with what is not said here taken from `other`."""
        return Place(
            serving_dir=self.serving_dir or other.serving_dir,
            name=self.name or other.name,
            conf=self.conf or other.conf,
        )

    def model_dir(self) -> Path:
        """Finds the folder of a model's versions.

        Raises:
          BundleError: it does not exist, or several models are there and none is named.
        """
        serving_dir, name = self.serving_dir, self.name
        if self.conf is not None:
            from pipeline.config import load_config

            config = load_config(self.conf)
            serving_dir = serving_dir or Path(config.serving_dir).expanduser()
            name = name or config.name
        if serving_dir is None:
            raise click.UsageError("say where the versions are: --serving-dir DIR or --conf FILE")
        if name is not None:
            return _existing(serving_dir / name)
        if _holds_versions(_existing(serving_dir)):
            return serving_dir
        models = [path for path in sorted(serving_dir.iterdir()) if _holds_versions(path)]
        if len(models) == 1:
            return models[0]
        if not models:
            raise BundleError(f"{serving_dir}: no published version here")
        names = ", ".join(path.name for path in models)
        raise BundleError(f"{serving_dir}: holds several models ({names}); choose with --name")


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of a `Place`: `serving_dir`, `name` and `conf`."""
    path = click.Path(path_type=Path)
    for option in (
        click.option("--name", help="Name of the model, where the folder holds several."),
        click.option("--conf", type=path, help="Take both from this configuration."),
        click.option("--serving-dir", type=path, help="Serving folder, or a model's folder."),
    ):
        command = option(command)
    return command


def _existing(path: Path) -> Path:
    if not path.is_dir():
        raise BundleError(f"{path}: no such folder; nothing was published there")
    return path


def _holds_versions(path: Path) -> bool:
    return path.is_dir() and any(scan(path))
