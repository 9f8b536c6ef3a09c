"""`tessera recommend`: ask a published bundle."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from components.bundle.manifest import Manifest
    from serving.recommend.question import Question
    from tables.config import DataConfig


@click.command()
@click.option(
    "--bundle",
    "bundle_path",
    required=True,
    type=click.Path(path_type=Path),
    help="A version's folder, a model's folder (newest version) or a serving folder.",
)
@click.option("--user", help="Id of a user in the tables.")
@click.option("--history", metavar="A,B,C", help="Item ids instead of a user, newest first.")
@click.option("--follow", metavar="T1,T2", help="Topics that count as followed just now.")
@click.option("-n", "count", type=click.IntRange(1), default=20, show_default=True, help="Items.")
@click.option("--data", "data_root", type=click.Path(path_type=Path), help="Folder of the tables.")
@click.option("--now", type=int, help="Time of the request, in the unit of the data.")
@click.option("--action", help="What was done with every --history item.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def recommend(
    bundle_path: Path,
    user: str | None,
    history: str | None,
    follow: str | None,
    count: int,
    data_root: Path | None,
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
    from components.bundle import open_bundle
    from serving.recommend.explain import explain
    from serving.recommend.served import ask, item_topics, usual_action

    bundle = open_bundle(bundle_path)
    manifest = bundle.manifest
    typed = _split(history)
    if user is not None:
        question = _of_user(manifest, data_root, user, _split(follow), now)
    else:
        from serving.recommend.question import typed_history

        moment = int(time.time()) if now is None else now
        done = usual_action(bundle) if action is None else action
        question = typed_history(typed, _split(follow), manifest.time_unit, moment, done)
    answer = ask(bundle, question)
    topics = item_topics(bundle)
    shown = {*answer.item_id[:count], *(event.item_id for event in question.history)}
    titles = _titles(manifest, data_root, shown)
    result = explain(bundle, question, answer, topics, titles, count)
    _print(result, as_json)


def _of_user(
    manifest: Manifest, data_root: Path | None, user: str, follows: list[str], now: int | None
) -> Question:
    from serving.recommend.lookup import find_user

    config = data_config(manifest, data_root)
    limit = int(manifest.config.get("transform", {}).get("follows_max_topics", 50))
    return find_user(config, _unit(manifest), user, limit, now, follows)


def data_config(manifest: Manifest, data_root: Path | None) -> DataConfig:
    """Returns where the tables are: at `data_root`, else where the model was trained.

    Raises:
      ConfigError: neither is known.
    """
    from tables.config import DataConfig

    root = str(data_root) if data_root is not None else manifest.data_root
    if not root:
        raise ConfigError("the bundle does not say where its tables are: give --data DIR")
    recorded = manifest.config.get("data") or {}
    return DataConfig.model_validate({**recorded, "root": root})


def _titles(manifest: Manifest, data_root: Path | None, items: set[str]) -> dict[str, str]:
    """Returns titles where the tables are at hand; they only decorate the answer."""
    from serving.recommend.lookup import titles

    try:
        return titles(data_config(manifest, data_root), _unit(manifest), items)
    except (ConfigError, DataError):
        return {}


def _unit(manifest: Manifest) -> Literal["seconds", "order"]:
    return "order" if manifest.time_unit == "order" else "seconds"


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
