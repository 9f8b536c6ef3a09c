"""Options of the commands that serve: `tessera serve` and `tessera route`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from cli.location import FolderOrUrl

_SOURCE = (
    click.option(
        "--bundle",
        type=FolderOrUrl(),
        help="A version's folder (that version only), a model's folder, or a serving folder with "
        "one model; also s3:// or gs://.",
    ),
    click.option("--serving-dir", type=FolderOrUrl(), help="Serving folder; also s3:// or gs://."),
    click.option("--name", help="Name of the model in the serving folder."),
)
_LISTENING = (
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option("--port", default=8500, show_default=True, help="Of gRPC; 0: any free one."),
    click.option("--rest-port", default=8501, show_default=True, help="Of HTTP; 0: any free one."),
    click.option(
        "--poll-s",
        type=click.FloatRange(0.01),
        default=1.0,
        show_default=True,
        help="Seconds between two looks for versions.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1),
        default=8,
        show_default=True,
        help="gRPC requests that run at once.",
    ),
)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--bundle`, `--serving-dir` and `--name`."""
    for option in reversed(_SOURCE):
        command = option(command)
    return command


def listening_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--host`, `--port`, `--rest-port`, `--poll-s` and `--workers`."""
    for option in reversed(_LISTENING):
        command = option(command)
    return command
