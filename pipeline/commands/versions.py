"""`tessera versions`: what is published, and which versions must stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from components.bundle.pins import Pins, read_pins, write_pins
from components.bundle.verify import verify
from components.bundle.versions import list_versions, scan
from core.errors import BundleError


@dataclass(frozen=True)
class _Place:
    """Where the caller says that versions are."""

    serving_dir: Path | None = None
    name: str | None = None
    conf: Path | None = None


def _place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say where versions are; they go before or after `pin`."""
    path = click.Path(path_type=Path)
    for option in (
        click.option("--name", help="Name of the model, where the folder holds several."),
        click.option("--conf", type=path, help="Take both from this configuration."),
        click.option("--serving-dir", type=path, help="Serving folder, or a model's folder."),
    ):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@_place_options
@click.option("--verify", "full", is_flag=True, help="Also check every file against the manifest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.pass_context
def versions(
    context: click.Context,
    serving_dir: Path | None,
    conf: Path | None,
    name: str | None,
    full: bool,
    as_json: bool,
) -> None:
    """List the published versions of a model, pin and unpin them.

    Exits with 1 when a version is damaged.
    """
    context.obj = _Place(serving_dir, name, conf)
    if context.invoked_subcommand is not None:
        return
    model_dir = _model_dir(context.obj)
    rows, broken = version_rows(model_dir, full)
    if as_json:
        document = {"model_dir": str(model_dir), "versions": rows, "damaged": broken}
        click.echo(json.dumps(document, indent=2))
    else:
        _print(model_dir, rows, broken)
    damaged = broken or any(row["valid"] is False for row in rows)
    raise click.exceptions.Exit(1 if damaged else 0)


@versions.command()
@click.argument("version", type=click.IntRange(1))
@_place_options
@click.pass_obj
def pin(place: _Place, /, version: int, **options: Any) -> None:
    """Keep VERSION whatever its age."""
    model_dir = _model_dir(_either(place, options))
    _require(model_dir, version)
    write_pins(model_dir, read_pins(model_dir).with_pin(version))
    click.echo(f"version {version} is pinned: retention keeps it")


@versions.command()
@click.argument("version", type=click.IntRange(1))
@_place_options
@click.pass_obj
def unpin(place: _Place, /, version: int, **options: Any) -> None:
    """Let retention remove VERSION when it is old."""
    model_dir = _model_dir(_either(place, options))
    pins = read_pins(model_dir)
    if version not in pins.pinned:
        raise BundleError(f"{model_dir}: version {version} is not pinned; {_pinned(pins)}")
    write_pins(model_dir, pins.without_pin(version))
    click.echo(f"version {version} is not pinned any more")


def version_rows(model_dir: Path, full: bool) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Returns one row per version, newest first, and what is wrong with other integer folders.

    Args:
      model_dir: `<serving_dir>/<name>`.
      full: check the files too; `valid` is None otherwise.
    """
    found, broken = scan(model_dir)
    pins = read_pins(model_dir)
    rows = []
    for bundle in reversed(found):
        manifest = bundle.manifest
        problem = _problem(bundle.path) if full else None
        rows.append(
            {
                "version": bundle.version,
                "created_at": manifest.created_at,
                "span": manifest.run_date or None,
                "primary_metric": manifest.primary_metric,
                "value": manifest.metrics.get(manifest.primary_metric),
                "bytes": manifest.total_bytes,
                "parent_version": manifest.parent_version,
                "baseline_version": manifest.baseline_version,
                "latest": bundle is found[-1],
                "pinned": bundle.version in pins.pinned,
                "labels": sorted(k for k, v in pins.labels.items() if v == bundle.version),
                "valid": None if problem is None else not problem,
                "problem": problem or None,
                "path": str(bundle.path),
            }
        )
    return rows, {str(number): reason for number, reason in sorted(broken.items())}


def _problem(path: Path) -> str:
    try:
        verify(path)
    except BundleError as error:
        return str(error)
    return ""


def _either(place: _Place, options: dict[str, Any]) -> _Place:
    return _Place(
        serving_dir=options["serving_dir"] or place.serving_dir,
        name=options["name"] or place.name,
        conf=options["conf"] or place.conf,
    )


def _model_dir(place: _Place) -> Path:
    """Finds the folder of a model's versions.

    Raises:
      BundleError: it does not exist, or several models are there and none is named.
    """
    serving_dir, name = place.serving_dir, place.name
    if place.conf is not None:
        from pipeline.config import load_config

        config = load_config(place.conf)
        serving_dir = serving_dir or Path(config.serving_dir).expanduser()
        name = name or config.name
    if serving_dir is None:
        raise click.UsageError("say where the versions are: --serving-dir DIR or --conf FILE")
    if name is not None:
        return _existing(serving_dir / name)
    if _holds_versions(_existing(serving_dir)):
        return serving_dir
    models = [path for path in sorted(serving_dir.iterdir()) if _holds_versions(path)]
    if len(models) == 1:
        return models[0]
    if not models:
        raise BundleError(f"{serving_dir}: no published version here")
    names = ", ".join(path.name for path in models)
    raise BundleError(f"{serving_dir}: holds several models ({names}); choose with --name")


def _existing(path: Path) -> Path:
    if not path.is_dir():
        raise BundleError(f"{path}: no such folder; nothing was published there")
    return path


def _holds_versions(path: Path) -> bool:
    return path.is_dir() and any(scan(path))


def _require(model_dir: Path, version: int) -> None:
    known = [bundle.version for bundle in list_versions(model_dir)]
    if version not in known:
        raise BundleError(
            f"{model_dir}: no version {version}; published: {', '.join(map(str, known)) or 'none'}"
        )


def _pinned(pins: Pins) -> str:
    return f"pinned: {', '.join(map(str, pins.pinned)) or 'none'}"


def _print(model_dir: Path, rows: list[dict[str, Any]], broken: dict[str, str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console = console if console.is_terminal else Console(width=140)

    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    line(f"[bold]{escape(model_dir.name)}[/]  [dim]{escape(str(model_dir))}[/]")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    metric = next((row["primary_metric"] for row in rows if row["primary_metric"]), "metric")
    for title, justify in (
        ("version", "right"), ("created", "left"), ("span", "left"), (metric, "right"),
        ("size", "right"), ("parent", "right"), ("state", "left"),
    ):  # fmt: skip
        table.add_column(title, justify=justify, no_wrap=title != "state")  # type: ignore[arg-type]
    for row in rows:
        value = row["value"]
        table.add_row(
            str(row["version"]),
            row["created_at"].replace("T", " ").replace("+00:00", ""),
            row["span"] or "",
            "" if value is None else f"{value:.4f}",
            f"{row['bytes'] / 1e6:.1f} MB",
            str(row["parent_version"] or ""),
            _state(row),
        )
    console.print(table if rows else "no published version")
    problems = broken | {str(row["version"]): row["problem"] for row in rows if row["problem"]}
    for number, reason in problems.items():
        line(f"[red]version {number} is damaged:[/] {escape(reason)}")


def _state(row: dict[str, Any]) -> str:
    words = ["[green]latest[/]"] if row["latest"] else []
    words += ["pinned"] if row["pinned"] else []
    words += [f"[cyan]{label}[/]" for label in row["labels"]]
    if row["valid"] is not None:
        words.append("[green]verified[/]" if row["valid"] else "[red]damaged[/]")
    return ", ".join(words)
