"""`tessera sync`: published versions from an object store to a model server's folder."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path

import click

from core.errors import BundleError, TesseraError

_log = logging.getLogger("tessera")


@click.command()
@click.argument("url")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", help="Only this model; otherwise every model under the URL.")
@click.option("--once", is_flag=True, help="Fill the folder once and end: for an init container.")
@click.option(
    "--poll-s",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="Seconds between two looks at the store.",
)
@click.option(
    "--server",
    default="",
    metavar="HOST:PORT",
    help="Model server (gRPC) that reads the folder: a version takes over, and labels move, when "
    "it has loaded it; the one before stays if it does not.",
)
@click.option(
    "--base-path",
    default="",
    metavar="DIR",
    help="FOLDER as the model server sees it, where that is another path.",
)
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Versions that stay on the disk beside those that are served.",
)
def sync(
    url: str,
    folder: Path,
    name: str | None,
    once: bool,
    poll_s: float,
    server: str,
    base_path: str,
    keep: int,
) -> None:
    """Keep FOLDER what the serving folder at URL (s3://, gs://) says is served.

    A version is downloaded beside, checked against its manifest and renamed to its number;
    then FOLDER/models.config names it, for TensorFlow Serving with
    --model_config_file_poll_wait_seconds. Labels, promotions and rollbacks made at URL are
    followed. What cannot be read or does not load is said, and what is served stays.

    With --once exits with 1 when there is nothing that can be served.
    """
    from serving.sync import opened

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    told = ""
    with opened(url, folder, name=name, base_path=base_path, server=server, keep=keep) as keeper:
        while True:
            problem = ""
            try:
                keeper.once()
            except TesseraError as error:
                problem = str(error)
            if problem != told:
                _log.error("%s", problem or "the store answers again")
            told = problem
            if once:
                break
            if stop.wait(poll_s):
                return
        now = keeper.configured()
    if not now:
        raise BundleError(f"{url}: nothing that can be served" + (f": {told}" if told else ""))
    for model, configured in now.items():
        click.echo(f"{model}: {', '.join(map(str, configured.versions))}")
