"""`tessera route`: one server in front of those of an index's shards."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from cli.listening import listening_options, source_options
from cli.serve import leave, log_to_stderr, model_source, run_server


@click.command()
@source_options
@click.option(
    "--shard",
    "addresses",
    multiple=True,
    required=True,
    metavar="HOST:PORT[,HOST:PORT...]",
    help="gRPC address of the next shard's servers (`tessera serve --shard`), from shard 0 on; "
    "a host name that stands for several addresses is all of them.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="Answer without shards that do not, and say how many (output `missing_shards`); "
    "without it the request fails.",
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(0.01),
    default=5.0,
    show_default=True,
    help="That a shard's server has for an answer.",
)
@click.option(
    "--wait-s",
    type=click.FloatRange(0.0),
    default=600.0,
    show_default=True,
    help="Wait so long for all shards at the start.",
)
@listening_options
@click.option("-v", "--verbose", is_flag=True, help="Also log every HTTP request.")
def route(
    bundle: Path | str | None,
    serving_dir: Path | str | None,
    name: str | None,
    addresses: tuple[str, ...],
    partial: bool,
    timeout_s: float,
    wait_s: float,
    host: str,
    port: int,
    rest_port: int,
    poll_s: float,
    workers: int,
    verbose: bool,
) -> None:
    """Answer requests from the servers of an index's shards, as one server would.

    Encodes the user, asks every shard, merges. A version is answered from when the servers of
    all shards have it; until then the one before is.
    """
    from serving.server.engine import Engine
    from serving.server.router import RoutedSource, Shards, load_router, wait_for

    grace_s = 30.0
    with tempfile.TemporaryDirectory(prefix="tessera-route-") as cache:
        source = model_source(bundle, serving_dir, name, None, Path(cache))
        log_to_stderr(verbose)
        shards = Shards(source.name, addresses, partial, timeout_s)
        routed = RoutedSource(source, shards)
        wait_for(routed, wait_s, poll_s)
        engine = Engine(routed, poll_s=poll_s, loader=lambda folder: load_router(folder, shards))
        in_time = run_server(engine, None, host, port, rest_port, workers, grace_s)
    leave(in_time, grace_s)
