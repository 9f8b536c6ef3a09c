"""`tessera versions`: what is published, and which versions must stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cli.location import ModelLocation, location_options
from components.bundle.labels import change, require_published
from components.bundle.mirror import shown, told
from components.bundle.pins import Pins, read_pins
from components.bundle.served import served_of
from components.bundle.verify import verify
from components.bundle.versions import BundleVersion, scan
from core.errors import BundleError


@click.group(invoke_without_command=True)
@location_options
@click.option("--verify", "full", is_flag=True, help="Also check every file against the manifest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.pass_context
def versions(
    context: click.Context,
    serving_dir: Path | str | None,
    conf: Path | None,
    name: str | None,
    full: bool,
    as_json: bool,
) -> None:
    """List the published versions of a model, pin and unpin them.

    Exits with 1 when a version is damaged.
    """
    context.obj = ModelLocation(serving_dir, name, conf)
    if context.invoked_subcommand is not None:
        return
    with context.obj.opened() as model_dir:
        rows, broken = version_rows(model_dir, full)
        place = shown(model_dir)
    if as_json:
        document = {"model_dir": place, "versions": rows, "damaged": broken}
        click.echo(json.dumps(document, indent=2))
    else:
        _print(place, rows, broken)
    damaged = broken or any(row["valid"] is False for row in rows)
    raise click.exceptions.Exit(1 if damaged else 0)


@versions.command()
@click.argument("version", type=click.IntRange(1))
@location_options
@click.pass_obj
def pin(place: ModelLocation, /, version: int, **options: Any) -> None:
    """Keep VERSION whatever its age."""

    def update(pins: Pins, versions: list[BundleVersion]) -> Pins:
        require_published(versions, version)
        return pins.with_pin(version)

    with ModelLocation(**options).or_else(place).opened() as model_dir:
        change(model_dir, update)
    click.echo(f"version {version} is pinned: retention keeps it")


@versions.command()
@click.argument("version", type=click.IntRange(1))
@location_options
@click.pass_obj
def unpin(place: ModelLocation, /, version: int, **options: Any) -> None:
    """Let retention remove VERSION when it is old."""

    def update(pins: Pins, _: list[BundleVersion]) -> Pins:
        if version not in pins.pinned:
            pinned = ", ".join(map(str, pins.pinned)) or "none"
            raise BundleError(f"version {version} is not pinned; pinned: {pinned}")
        return pins.without_pin(version)

    with ModelLocation(**options).or_else(place).opened() as model_dir:
        change(model_dir, update)
    click.echo(f"version {version} is not pinned any more")


def version_rows(model_dir: Path, full: bool) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Returns one row per version, newest first, and what is wrong with other integer folders.

    Args:
      model_dir: `<serving_dir>/<name>`.
      full: check the files too; `valid` is None otherwise.
    """
    found, broken = scan(model_dir)
    pins = read_pins(model_dir)
    served = served_of(pins, [bundle.version for bundle in found])
    for label, version in pins.labels.items():
        if version not in {bundle.version for bundle in found}:
            broken.setdefault(version, f"label {label!r} names it, but it is not published")
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
                "model_version": manifest.model_version or bundle.version,
                "refreshed_from": manifest.refreshed_from,
                "baseline_version": manifest.baseline_version,
                "latest": bundle is found[-1],
                "served": bundle.version in served.versions,
                "pinned": bundle.version in pins.pinned,
                "labels": sorted(k for k, v in pins.labels.items() if v == bundle.version),
                "valid": None if problem is None else not problem,
                "problem": problem or None,
                "path": shown(bundle.path),
            }
        )
    return rows, {str(n): told(reason, model_dir) for n, reason in sorted(broken.items())}


def _problem(path: Path) -> str:
    try:
        verify(path)
    except BundleError as error:
        return told(str(error), path)
    return ""


def _print(place: str, rows: list[dict[str, Any]], broken: dict[str, str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console = console if console.is_terminal else Console(width=140)

    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    line(f"[bold]{escape(place.rstrip('/').rpartition('/')[2])}[/]  [dim]{escape(place)}[/]")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    metric = next((row["primary_metric"] for row in rows if row["primary_metric"]), "metric")
    for title, justify in (
        ("version", "right"), ("created", "left"), ("span", "left"), (metric, "right"),
        ("size", "right"), ("parent", "right"), ("model", "right"), ("state", "left"),
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
            str(row["model_version"]),
            _state(row),
        )
    console.print(table if rows else "no published version")
    problems = broken | {str(row["version"]): row["problem"] for row in rows if row["problem"]}
    for number, reason in problems.items():
        line(f"[red]version {number} is damaged:[/] {escape(reason)}")


def _state(row: dict[str, Any]) -> str:
    words = ["[green]latest[/]"] if row["latest"] else []
    words += ["[cyan]served[/]"] if row["served"] else []
    words += [f"[cyan]{label}[/]" for label in row["labels"]]
    words += ["pinned"] if row["pinned"] else []
    if row["valid"] is not None:
        words.append("[green]verified[/]" if row["valid"] else "[red]damaged[/]")
    return ", ".join(words)
