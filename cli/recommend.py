"""`tessera recommend`: ask a published bundle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from cli.feature_options import feature_option
from cli.filter_options import filter_options, split_names
from cli.location import FolderOrUrl


@click.command()
@click.option(
    "--bundle",
    "bundle_path",
    required=True,
    type=FolderOrUrl(),
    help="A version's folder, a model's folder (newest version) or a serving folder; also a URL.",
)
@click.option("--user", help="Id of a user in the tables.")
@click.option("--history", metavar="A,B,C", help="Item ids instead of a user, newest first.")
@click.option("--follow", metavar="T1,T2", help="Topics that count as followed just now.")
@feature_option("user")
@click.option("-n", "count", type=click.IntRange(1), default=20, show_default=True, help="Items.")
@click.option("--data", "data_root", type=FolderOrUrl(), help="Folder or URL of the tables.")
@click.option("--now", type=int, help="Time of the request, in the unit of the data.")
@click.option("--action", help="What was done with every --history item.")
@filter_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def recommend(
    bundle_path: Path | str,
    user: str | None,
    history: str | None,
    follow: str | None,
    features: tuple[str, ...],
    count: int,
    data_root: Path | str | None,
    now: int | None,
    action: str | None,
    allow: str | None,
    deny: str | None,
    conditions: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print the items that a bundle recommends, each with its reason.

    A user's history and follows are read from the tables that the model was
    trained on, or from --data. Without --user, say what the user likes with
    --history, --follow or both. Items can be filtered by the columns that
    retrieval.filters names.
    """
    if user is not None and history is not None:
        raise click.UsageError("give --user or --history, not both")
    if user is None and history is None and follow is None:
        raise click.UsageError("give --user or --history (or at least --follow)")
    from serving.filters import make_filters

    filters = make_filters(
        None if allow is None else split_names(allow), split_names(deny), conditions
    )
    import tessera

    with tessera.load(bundle_path, data_root) as bundle:
        if not isinstance(bundle, tessera.Bundle):
            raise click.UsageError("--bundle is a folder or the URL of a store, not of a server")
        follows = split_names(follow)
        if user is not None:
            question = bundle.question(user, now, tuple(follows))
        else:
            question = bundle.typed(split_names(history), follows, action, now)
        if features:
            question = dataclasses.replace(question, features=(*features, *question.features))
        _print(bundle.explain(question, count, filters), as_json)


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from serving.recommend.show import show

    console = Console()
    show(result, console if console.is_terminal else Console(width=140))
