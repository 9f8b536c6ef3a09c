"""Options that say which model's versions a command is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from components.bundle.mirror import mirrored
from components.bundle.opened import locate
from components.bundle.versions import scan
from core.errors import BundleError
from core.storage import expanded, is_remote, local_or_url


class FolderOrUrl(click.ParamType):
    """A `Path`, or the text of a URL such as `s3://bucket/serving`."""

    name = "path"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | str:
        """See base class."""
        return local_or_url(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class ModelLocation:
    """Where the caller says that versions are."""

    serving_dir: Path | str | None = None
    name: str | None = None
    conf: Path | None = None

    def or_else(self, other: ModelLocation) -> ModelLocation:
        """Returns this place, with what is not said here taken from `other`."""
        return ModelLocation(
            serving_dir=self.serving_dir or other.serving_dir,
            name=self.name or other.name,
            conf=self.conf or other.conf,
        )

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """Yields the folder of a model's versions, or a mirror of it where it is a URL.

        Raises:
          BundleError: it does not exist, or several models are there and none is named.
        """
        serving_dir, name = self._said()
        if is_remote(serving_dir) and name is None:
            serving_dir, name, _ = locate(str(serving_dir))
        with mirrored(serving_dir, name) as root:
            yield _model_dir(root, name)

    def _said(self) -> tuple[Path | str, str | None]:
        serving_dir, name = self.serving_dir, self.name
        if self.conf is not None:
            from pipeline.config import load_config

            config = load_config(self.conf)
            serving_dir = serving_dir or expanded(config.serving_dir)
            name = name or config.name
        if serving_dir is None:
            raise click.UsageError("say where the versions are: --serving-dir DIR or --conf FILE")
        return serving_dir, name


def _model_dir(serving_dir: Path, name: str | None) -> Path:
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


def location_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of a `Place`: `serving_dir`, `name` and `conf`."""
    conf = click.Path(path_type=Path)
    for option in (
        click.option("--name", help="Name of the model, where the folder holds several."),
        click.option("--conf", type=conf, help="Take both from this configuration."),
        click.option(
            "--serving-dir",
            type=FolderOrUrl(),
            help="Serving folder, or a model's folder; also s3:// or gs://.",
        ),
    ):
        command = option(command)
    return command


def _existing(path: Path) -> Path:
    if not path.is_dir():
        raise BundleError(f"{path}: no such folder; nothing was published there")
    return path


def _holds_versions(path: Path) -> bool:
    return path.is_dir() and any(scan(path))
