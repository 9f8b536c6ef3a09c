"""`tessera recommend`: ask a published bundle."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.location import FolderOrUrl
from core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from components.bundle import Bundle, Manifest
    from serving.recommend.question import Question


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
@click.option("-n", "count", type=click.IntRange(1), default=20, show_default=True, help="Items.")
@click.option("--data", "data_root", type=FolderOrUrl(), help="Folder or URL of the tables.")
@click.option("--now", type=int, help="Time of the request, in the unit of the data.")
@click.option("--action", help="What was done with every --history item.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def recommend(
    bundle_path: Path | str,
    user: str | None,
    history: str | None,
    follow: str | None,
    count: int,
    data_root: Path | str | None,
    now: int | None,
    action: str | None,
    as_json: bool,
) -> None:
    """Print the items that a bundle recommends, each with its reason.

    A user's history and follows are read from the tables that the model was
    trained on, or from --data. Without --user, say what the user likes with
    --history, --follow or both.
    """
    if user is not None and history is not None:
        raise click.UsageError("give --user or --history, not both")
    if user is None and history is None and follow is None:
        raise click.UsageError("give --user or --history (or at least --follow)")
    from components.bundle import opened_bundle

    with opened_bundle(bundle_path) as bundle:
        if user is not None:
            question = _of_user(bundle.manifest, data_root, user, _split(follow), now)
        else:
            question = _typed(bundle, _split(history), _split(follow), action, now)
        _print(_answer(bundle, question, data_root, count), as_json)


def _typed(
    bundle: Bundle, history: list[str], follows: list[str], action: str | None, now: int | None
) -> Question:
    from serving.recommend.question import typed_history
    from serving.recommend.served import actions

    moment = int(time.time()) if now is None else now
    done = [*actions(bundle.path), ""][0] if action is None else action
    return typed_history(history, follows, bundle.manifest.time_unit, moment, done)


def _answer(
    bundle: Bundle, question: Question, data_root: Path | str | None, count: int
) -> dict[str, Any]:
    """Returns what is printed: see docs/bundle.md."""
    from components.bundle.mirror import shown
    from serving.recommend.catalogue import Catalogue
    from serving.recommend.explain import explain, shown_items
    from serving.recommend.served import ask

    manifest = bundle.manifest
    answer = ask(bundle, question, count)
    items = shown_items(question, answer)
    facts = Catalogue.read(bundle.path).facts(items, question.follows)
    facts = dataclasses.replace(facts, titles=_titles(manifest, data_root, items))
    head = {"name": manifest.name, "version": manifest.version, "path": shown(bundle.path)}
    asked = {"user": question.user, "now": question.now, "time_unit": manifest.time_unit}
    return {"bundle": head, **asked, **explain(question, answer, facts, count)}


def _of_user(
    manifest: Manifest, data_root: Path | str | None, user: str, follows: list[str], now: int | None
) -> Question:
    from input_tables.remote import local_tables
    from serving.recommend.lookup import data_config, find_user, follows_limit, time_unit

    with local_tables(data_config(manifest, data_root)) as config:
        return find_user(config, time_unit(manifest), user, follows_limit(manifest), now, follows)


def _titles(manifest: Manifest, data_root: Path | str | None, items: set[str]) -> dict[str, str]:
    """Returns titles where the tables are at hand; they only decorate the answer."""
    from input_tables.remote import local_tables
    from serving.recommend.lookup import data_config, time_unit, titles

    try:
        with local_tables(data_config(manifest, data_root), items_only=True) as config:
            found = titles(config, time_unit(manifest), items)
    except (ConfigError, DataError):
        return {}
    return dict(zip(found["item_id"].to_pylist(), found["title"].to_pylist(), strict=True))


def _split(text: str | None) -> list[str]:
    parts = [part.strip() for part in (text or "").split(",")]
    return list(dict.fromkeys(part for part in parts if part))


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from serving.recommend.show import show

    console = Console()
    show(result, console if console.is_terminal else Console(width=140))
