"""`tessera rollback`: serve an earlier version."""

from __future__ import annotations

from typing import Any

import click

from cli.location import ModelLocation
from cli.serving_state import change_options, print_served
from components.bundle.rollback import roll_back
from components.bundle.served import served


@click.command()
@click.option(
    "--to",
    "target",
    type=click.IntRange(1),
    metavar="VERSION",
    help="The version to go back to [default: the one served before].",
)
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="HOST:PORT",
    help="Let this model server (gRPC) load the version before the labels move; repeatable.",
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(0.0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds for each --server to load it.",
)
@change_options
def rollback(
    target: int | None,
    servers: tuple[str, ...],
    timeout_s: float,
    wait_s: float,
    as_json: bool,
    **location: Any,
) -> None:
    """Serve the version that was served before, and print what is served now.

    The label `stable` moves there; labels of later versions (a canary) are removed, so that
    requests without a version are rolled back too. Where a canary is served beside
    `stable`, the first rollback only takes the canary away.

    A running TensorFlow Serving moves a label only to a version that it has loaded: name it
    with --server, and it loads the version beside what it serves before anything moves.

    Exits with 1 when a server does not load the version (then nothing has moved) or somebody
    else holds the lock, with 2 when there is no sound version to go back to.
    """
    with ModelLocation(**location).opened() as model_dir:
        before = served(model_dir)
        now = roll_back(model_dir, target, servers, timeout_s, wait_s)
        # With --server it was loaded before the labels moved.
        print_served(model_dir, now if servers else before, now, as_json, "name it with --server")
