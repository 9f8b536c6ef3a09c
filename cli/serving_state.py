"""What `promote` and `rollback` print, and the options they share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli.location import location_options
from components.bundle.mirror import shown
from components.bundle.model_config import MODELS_CONFIG
from components.bundle.served import Served, blocked_moves


def change_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of every command that changes what is served."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")(command)
    command = click.option(
        "--wait-s",
        type=click.FloatRange(0.0),
        default=30.0,
        show_default=True,
        help="Seconds to wait while somebody publishes.",
    )(command)
    return location_options(command)


def print_served(model_dir: Path, before: Served, now: Served, as_json: bool, way_out: str) -> None:
    """Prints what is served after a change, and a note where a server may not follow.

    Args:
      model_dir: `<serving_dir>/<name>`.
      before: what was served.
      now: what is served.
      as_json: JSON instead of words.
      way_out: what to do where a running server refuses the change.
    """
    config = shown(model_dir.absolute().parent / MODELS_CONFIG)
    blocked = blocked_moves(before, now)
    notes = [
        f"a running TensorFlow Serving does not move {', '.join(blocked)} to a version that it "
        f"has not loaded, and keeps what it has: {way_out}, or start it anew"
    ]
    if as_json:
        document = {
            "model_dir": shown(model_dir),
            "served": {"versions": list(now.versions), "labels": now.labels},
            "decided_by": "labels" if now.labels else "newest",
            "models_config": config,
            "notes": notes if blocked else [],
        }
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"{model_dir.absolute().name} serves {describe(now)}")
    click.echo(
        "labels decide: a new version is served once it is promoted; "
        "`tessera promote --clear` serves the newest again"
        if now.labels
        else "the newest version is served, the next one as soon as it is published"
    )
    click.echo(f"model servers read {config}")
    for note in notes if blocked else ():
        click.echo(f"note: {note}")


def describe(now: Served) -> str:
    """Returns the served versions in words, with their labels."""
    words = []
    for version in now.versions:
        labels = ", ".join(name for name, number in now.labels.items() if number == version)
        words.append(f"version {version}" + (f" ({labels})" if labels else ""))
    return " and ".join(words) or "nothing"
