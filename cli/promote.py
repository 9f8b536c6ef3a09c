"""`tessera promote`: choose what is served."""

from __future__ import annotations

from typing import Any

import click

from cli.location import ModelLocation
from cli.serving_state import change_options, print_served
from components.bundle.labels import STABLE, change, cleared, promoted
from components.bundle.model_config import require_readable
from components.bundle.model_status import AVAILABLE, version_status
from components.bundle.pins import Pins
from components.bundle.served import served
from components.bundle.versions import BundleVersion
from core.errors import PushError

_ALL = "*"


@click.command()
@click.argument("version", type=click.IntRange(1), required=False)
@click.option("--label", help=f"Label to set: {STABLE} (default), canary, or another.")
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="HOST:PORT",
    help="Refuse unless this model server (gRPC) has loaded VERSION already; repeatable.",
)
@click.option(
    "--clear",
    "clear",
    is_flag=False,
    flag_value=_ALL,
    metavar="[LABEL]",
    help="Remove a label instead, or all: then the newest version is served.",
)
@click.option(
    "--base-path",
    metavar="DIR",
    help="The serving folder as the model server sees it, for models.config: /models in a "
    "container, '' for the same path as here. It is remembered.",
)
@change_options
def promote(
    version: int | None,
    label: str | None,
    servers: tuple[str, ...],
    clear: str | None,
    base_path: str | None,
    wait_s: float,
    as_json: bool,
    **location: Any,
) -> None:
    """Serve VERSION under a label, and print what is served now.

    Every file of the version is checked first. With labels exactly the labelled versions
    are served; the largest of them answers requests without a version or label.

    Exits with 1 when a server has not loaded the version or somebody else holds the
    lock, with 2 when the version is not published or damaged.
    """
    if version is not None and clear is not None:
        raise click.UsageError("give VERSION or --clear, not both")
    if version is None and (label is not None or servers):
        raise click.UsageError("--label and --server need the VERSION to promote")
    if base_path:
        require_readable(base_path)
    if version is None and clear is None and base_path is None:
        raise click.UsageError("say what to serve: VERSION, or --clear")
    way_out = "promote the version under a new label first, and again when it is loaded"
    with ModelLocation(**location).opened() as model_dir:
        name = model_dir.absolute().name

        def update(pins: Pins, versions: list[BundleVersion]) -> Pins:
            if version is not None:
                pins = promoted(pins, versions, version, STABLE if label is None else label)
                for server in servers:
                    _require_available(server, name, version)
            if clear is not None:
                pins = cleared(pins, None if clear == _ALL else clear)
            if base_path is not None:
                pins = pins.model_copy(update={"server_root": base_path.rstrip("/")})
            return pins

        before = served(model_dir)
        now = change(model_dir, update, wait_s)
        print_served(model_dir, before, now, as_json, way_out)


def _require_available(server: str, name: str, version: int) -> None:
    status = version_status(server, name, version)
    if status.state != AVAILABLE:
        raise PushError(
            f"{server} has not loaded version {version} of {name}, so nothing was changed; its "
            f"status is {status}; promote it as a canary first, without --server, so that it is "
            "loaded beside what is served"
        )
