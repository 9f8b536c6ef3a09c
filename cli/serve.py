"""`tessera serve`: a local model server over published bundles."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from cli.listening import listening_options, source_options
from core.errors import BundleError, ConfigError
from core.storage import expanded, is_remote

if TYPE_CHECKING:
    from components.user_ids import IdKey
    from serving.request_log.writer import RequestLog
    from serving.server.engine import Engine
    from serving.server.http import Route
    from serving.server.source import VersionSource
    from serving.server.version import LoadedVersion


@click.command()
@source_options
@click.option("--conf", type=click.Path(path_type=Path), help="Take both from this configuration.")
@click.option("--data", "data_root", type=click.Path(path_type=Path), help="Tables, for the page.")
@listening_options
@click.option(
    "--grace-s",
    type=click.FloatRange(0.0),
    default=30.0,
    show_default=True,
    help="Seconds that running requests get when the server is stopped.",
)
@click.option(
    "--log-requests",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write requests and answers to this folder, for `tessera monitor`; off without it.",
)
@click.option(
    "--log-share",
    type=click.FloatRange(0.0, 1.0),
    default=1.0,
    show_default=True,
    help="Share of the requests that is logged.",
)
@click.option(
    "--log-users",
    is_flag=True,
    help="Log users' ids too, hashed with the key in TESSERA_ID_KEY; nobody is named without it.",
)
@click.option(
    "--shard",
    type=click.IntRange(0),
    help="Serve this shard alone (`index.shards`), for `tessera route`; as NAME-shard-NUMBER.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also log every HTTP request.")
def serve(
    bundle: Path | str | None,
    serving_dir: Path | str | None,
    name: str | None,
    conf: Path | None,
    data_root: Path | None,
    host: str,
    port: int,
    rest_port: int,
    poll_s: float,
    workers: int,
    grace_s: float,
    log_requests: Path | None,
    log_share: float,
    log_users: bool,
    shard: int | None,
    verbose: bool,
) -> None:
    """Serve a published model on this machine, with a page to look at it.

    A stand-in for TensorFlow Serving while developing: the same gRPC and REST
    requests, answers, errors and rules for versions, but no batching and no TLS.
    New versions, promotions and rollbacks are followed without a failed request.
    SIGTERM and Ctrl-C stop it after the running requests.
    """
    key = _user_key(log_users)
    with tempfile.TemporaryDirectory(prefix="tessera-serve-") as cache:
        source = model_source(bundle, serving_dir, name, conf, Path(cache))
        log_to_stderr(verbose)
        log = None if log_requests is None else _request_log(log_requests, log_share, key)
        engine = _engine(source, poll_s, log, shard)
        page = _page(engine, data_root) if shard is None else None
        in_time = run_server(engine, page, host, port, rest_port, workers, grace_s)
    leave(in_time, grace_s)


def _user_key(wanted: bool) -> IdKey | None:
    from components.user_ids import KEY_VARIABLE, id_key

    key = id_key() if wanted else None
    if wanted and key is None:
        raise ConfigError(f"--log-users needs a key in the environment variable {KEY_VARIABLE}")
    return key


def _request_log(folder: Path, share: float, user_key: IdKey | None) -> RequestLog:
    from serving.request_log.writer import RequestLog

    return RequestLog(folder, share, user_key)


def _engine(
    source: VersionSource, poll_s: float, log: RequestLog | None, shard: int | None
) -> Engine:
    from serving.server.engine import Engine

    if shard is None:
        return Engine(source, poll_s=poll_s, request_log=log)
    from serving.server.shard import ShardSource, load_shard

    def loader(folder: Path) -> LoadedVersion:
        return load_shard(folder, shard)

    return Engine(ShardSource(source, shard), poll_s=poll_s, request_log=log, loader=loader)


def _page(engine: Engine, data_root: Path | None) -> Mapping[str, Route]:
    from serving.page.app import Page

    return Page(engine, data_root).routes()


def run_server(
    engine: Engine,
    page: Mapping[str, Route] | None,
    host: str,
    port: int,
    rest_port: int,
    workers: int,
    grace_s: float,
) -> bool:
    """Serves until a signal; returns whether all requests ended in time.

    Args:
      engine: not started yet.
      page: further paths of HTTP; None for no page.
      host: address of both ports.
      port: of gRPC.
      rest_port: of HTTP.
      workers: gRPC requests that run at once.
      grace_s: seconds that running requests get at the end.
    """
    from serving.server.process import ModelServer, run_until_signal

    # What was imported stays for ever: collecting the garbage of an unloaded version, which
    # holds up every request, need not look through it.
    gc.freeze()
    server = ModelServer(engine, host, port, rest_port, workers, page)

    def started() -> None:
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"model {engine.name}: version {_versions(engine.status())}")
        click.echo(f"  gRPC  {shown}:{server.port}")
        click.echo(f"  REST  http://{shown}:{server.rest_port}/v1/models/{engine.name}")
        if page is not None:
            click.echo(f"  page  http://{shown}:{server.rest_port}/")

    return run_until_signal(server, started, grace_s)


def leave(in_time: bool, grace_s: float) -> NoReturn:
    """Ends the process at once, and says whether running requests ended in time.

    Everything is closed by now; the interpreter's own end would walk through all of
    TensorFlow's graphs for seconds and wait for threads of gRPC.
    """
    if in_time:
        click.echo("stopped")
    else:
        click.echo(f"stopped; requests that ran longer than {grace_s:g} s were cut off", err=True)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if in_time else 1)


def model_source(
    bundle: Path | str | None,
    serving_dir: Path | str | None,
    name: str | None,
    conf: Path | None,
    cache: Path | None = None,
) -> VersionSource:
    """Returns what ought to be served.

    Args:
      bundle: folder or URL, of a version, a model or a serving folder.
      serving_dir: folder or URL.
      name: of the model.
      conf: a configuration that names both.
      cache: an empty folder for what is downloaded from a URL.

    Raises:
      BundleError: nothing is published there.
    """
    from components.bundle.verify import resolve_version_dir
    from serving.server.source import ModelFolder, OneBundle, RemoteModel

    if bundle is not None and (serving_dir or name or conf):
        raise click.UsageError("give --bundle, or --serving-dir with --name, or --conf")
    if conf is not None:
        from pipeline.config import load_config

        config = load_config(conf)
        serving_dir = serving_dir or expanded(config.serving_dir)
        name = name or config.name
    root = bundle or serving_dir
    if root is None:
        raise click.UsageError("say what to serve: --bundle DIR, --serving-dir DIR or --conf FILE")
    if is_remote(root):
        if cache is None:
            raise BundleError(f"{root}: a URL is served through a folder of this machine")
        return RemoteModel(str(root), name, cache)
    root = Path(root)
    if name is not None:
        root = root / name
        if not root.is_dir():
            raise BundleError(f"{root}: no such folder; nothing was published there")
    version = resolve_version_dir(root).resolve()
    return OneBundle(version) if version == root.resolve() else ModelFolder(version.parent)


def _versions(states: list) -> str:
    from serving.server.version import State

    numbers = sorted(each.version for each in states if each.state is State.AVAILABLE)
    return ", ".join(map(str, numbers))


def log_to_stderr(verbose: bool) -> None:
    """Shows what the server logs, with every HTTP request if asked to."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s"))
    logger = logging.getLogger("tessera")
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
