"""`tessera rollback`: serve an earlier version."""

from __future__ import annotations

from typing import Any

import click

from components.bundle.labels import change, rolled_back
from pipeline.commands.place import Place
from pipeline.commands.serving_state import change_options, print_served


@click.command()
@click.option(
    "--to",
    "target",
    type=click.IntRange(1),
    metavar="VERSION",
    help="The version to go back to [default: the one served before].",
)
@change_options
def rollback(target: int | None, wait_s: float, as_json: bool, **place: Any) -> None:
    """Serve the version that was served before, and print what is served now.

    The label `stable` moves there; labels of later versions (a canary) are removed, so that
    requests without a version are rolled back too. Where a canary is served beside
    `stable`, the first rollback only takes the canary away.

    Exits with 1 when somebody else holds the lock, with 2 when there is no sound version
    to go back to.
    """
    model_dir = Place(**place).model_dir()
    now = change(model_dir, lambda pins, found: rolled_back(pins, found, target), wait_s)
    print_served(model_dir, now, as_json)
