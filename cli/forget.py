"""`tessera forget`: one user out of what runs, pushes and candidates left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.location import FolderOrUrl
from core.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.forget.person import Finding, Person


@click.command()
@click.option("--user", "user_id", required=True, metavar="ID", help="The user's id in the tables.")
@click.option(
    "--work-dir", "work_dirs", multiple=True, type=FolderOrUrl(), help="Work folder of runs."
)
@click.option(
    "--serving-dir",
    "serving_dirs",
    multiple=True,
    type=FolderOrUrl(),
    help="Serving folder, or a model's folder.",
)
@click.option(
    "--candidates", "candidates", multiple=True, type=FolderOrUrl(), help="Folder of candidates."
)
@click.option("--log", "logs", multiple=True, type=FolderOrUrl(), help="Folder of a request log.")
@click.option(
    "--conf",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Take the first three, where they exist, and the tables from this configuration.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def forget(
    user_id: str,
    work_dirs: tuple[Path | str, ...],
    serving_dirs: tuple[Path | str, ...],
    candidates: tuple[Path | str, ...],
    logs: tuple[Path | str, ...],
    conf: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove a user from candidates, samples, dead letters, request logs and cached artifacts.

    Each option may be repeated. Folders change in one step each and the same command may be
    given again after a kill. The tables are not changed: the places where that must be done
    are named, and the next run makes removed artifacts again from them.

    With the key of hashed samples in TESSERA_ID_KEY the hashed id is removed too. Exits with 1
    where a sample is hashed with a key that is not there.
    """
    from components.user_ids import id_key
    from pipeline.forget.person import Person

    if not user_id:
        raise click.UsageError("--user is empty")
    places: dict[str, list[Path | str]] = {
        "--work-dir": list(work_dirs),
        "--serving-dir": list(serving_dirs),
        "--candidates": list(candidates),
        "--log": list(logs),
    }
    tables = _configured(conf, places)
    if not any(places.values()):
        raise click.UsageError(f"say where: {', '.join(places)} or --conf")
    local = {option: [_folder(option, path) for path in paths] for option, paths in places.items()}
    found = _forget(local, Person(user_id, id_key()), dry_run)
    tables |= _trained_on(local["--serving-dir"])
    _print(found, sorted(tables), dry_run, as_json)
    raise click.exceptions.Exit(1 if any(one.kind == "unclear" for one in found) else 0)


def _forget(places: dict[str, list[Path]], person: Person, dry_run: bool) -> list[Finding]:
    from pipeline.forget.bundles import forget_in_bundles, model_dirs
    from pipeline.forget.candidates import forget_in_candidates
    from pipeline.forget.request_log import forget_in_log
    from pipeline.forget.work_dir import forget_in_work_dir

    found: list[Finding] = []
    models = [model for folder in places["--serving-dir"] for model in model_dirs(folder)]
    for model_dir in models:
        found += forget_in_bundles(model_dir, person, dry_run)
    for out in places["--candidates"]:
        found += forget_in_candidates(out, person, dry_run)
    for log in places["--log"]:
        found += forget_in_log(log, person, dry_run)
    for work_dir in places["--work-dir"]:
        found += forget_in_work_dir(work_dir, person, dry_run)
    return found


def _configured(conf: Path | None, places: dict[str, list[Path | str]]) -> set[str]:
    """Adds the places of a configuration that exist; returns the root of its tables."""
    if conf is None:
        return set()
    from core.storage import expanded, is_remote
    from pipeline.config import load_config

    config = load_config(conf)
    out = config.candidates.out
    for option, given in (
        ("--work-dir", config.work_dir),
        ("--serving-dir", config.serving_dir),
        ("--candidates", out),
    ):
        path = expanded(given) if given else ""
        if path and not places[option] and (is_remote(path) or Path(path).is_dir()):
            places[option].append(path if is_remote(path) else Path(path))
    return {str(config.data.root)}


def _folder(option: str, path: Path | str) -> Path:
    """Returns a local folder.

    Raises:
      ConfigError: it is a URL, or there is none.
    """
    if isinstance(path, str):
        raise ConfigError(
            f"{option} {path}: objects of a store cannot be replaced together in one step; publish "
            "or write anew without the user and remove the old ones, or work on a local copy"
        )
    if not path.is_dir():
        raise ConfigError(f"{option} {path}: no such folder")
    return path


def _trained_on(serving_dirs: list[Path]) -> set[str]:
    from components.bundle.versions import list_versions
    from pipeline.forget.bundles import model_dirs

    models = [model for folder in serving_dirs for model in model_dirs(folder)]
    roots = {v.manifest.data_root for model in models for v in list_versions(model)}
    return roots - {""}


def _print(found: list[Finding], tables: list[str], dry_run: bool, as_json: bool) -> None:
    if as_json:
        rows: list[dict[str, Any]] = [one._asdict() for one in found]
        document = {"dry_run": dry_run, "found": rows, "tables": tables}
        click.echo(json.dumps(document, indent=2))
        return
    change, remove = ("would change", "would remove") if dry_run else ("changed", "removed")
    titles = {"unclear": "cannot tell", "look": "look at", "artifact": f"{remove} artifact"}
    for one in found:
        title = titles.get(one.kind, f"{change} {one.kind}")
        click.echo(f"{title}: {one.path}: {one.what}")
    if not found:
        click.echo("the user is in none of these places")
    for root in tables:
        click.echo(
            f"change yourself: {root}: rows of this user_id in the tables engagements and follows"
        )
