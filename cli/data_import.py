"""`tessera data import`: tables from public data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

FORMATS = click.Choice(["parquet", "csv", "csv.gz"])


class _Sets(click.Group):
    """Takes every name that is no command of its own for the name of a data set."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, "NAME")


def _names(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from input_tables.importers import IMPORTERS

    for importer in IMPORTERS.values():
        click.echo(f"{importer.name:<16} {importer.title:<22} {importer.files}")
    ctx.exit()


@click.group("import", cls=_Sets)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_names, help="Known sets."
)
def import_() -> None:
    """Make tables from a public data set, by its name.

    \b
    tessera data import --list
    tessera data import movielens ml-1m.zip --out data/ml-1m
    """  # noqa: D301 - click reads the \b


@import_.command("NAME")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option("--format", "file_format", type=FORMATS, default="parquet", show_default=True)
@click.option(
    "--derive-follows",
    is_flag=True,
    help="Make follows from behaviour where the set has none (they prove nothing).",
)
@click.option("--force", is_flag=True, help="Replace tables that are in the folder already.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def _known_set(
    ctx: click.Context,
    source: Path,
    out: Path,
    file_format: str,
    derive_follows: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Turn the data set NAME at SOURCE into tables.

    SOURCE is the folder, zip or tar archive as published, or the file of the log;
    that file decides which set and which of its formats is read.
    """
    from input_tables.importers import import_tables

    name = str(ctx.info_name)
    summary = import_tables(name, source, out, file_format, derive_follows, force)  # type: ignore[arg-type]
    if as_json:
        click.echo(json.dumps({"out": str(out), **summary}))
        return
    show(out, summary)


def show(out: Path, summary: dict[str, Any]) -> None:
    """Prints what was imported: counts, notes and warnings."""
    follows = f", {summary['follows']:,} follows" if "follows" in summary else ", no follows"
    click.echo(
        f"{out}: {summary['engagements']:,} engagements of {summary['users']:,} users with "
        f"{summary['items']:,} items{follows}; time in {summary['time_unit']}"
    )
    for note in summary["notes"]:
        click.echo(f"  note: {note}")
    for warning in summary["warnings"]:
        click.echo(f"  warning: {warning}", err=True)
