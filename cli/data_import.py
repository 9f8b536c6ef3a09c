"""`tessera data import`: tables from public data sets and from any file with columns."""

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
    """Make tables from a public data set, by its name, or from files of your own.

    \b
    tessera data import --list
    tessera data import movielens ml-1m.zip --out data/ml-1m
    tessera data import table events.csv --map user_id=visitor,item_id=item,timestamp=time \\
        --action view --time-unit ms --out data/shop
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


def show(out: Path | str, summary: dict[str, Any]) -> None:
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


_FILE = click.Path(path_type=Path)


@import_.command()
@click.argument("files", nargs=-1, type=_FILE)
@click.option("--out", type=_FILE, help="Folder to make.  [required without --dry-run]")
@click.option("--dry-run", is_flag=True, help="Show how the first rows are understood, no more.")
@click.option("--map", "map_", multiple=True, help="user_id=COLUMN,item_id=COLUMN,...")
@click.option("--where", multiple=True, help="COLUMN=VALUE (or VALUE|VALUE): rows that are read.")
@click.option("--columns", help="Names of the columns, for files without a header: a,b,c.")
@click.option("--separator", help="One character, or tab; found from the header if not given.")
@click.option("--quotes/--no-quotes", default=None, help='Whether " begins a quoted value.')
@click.option("--escape", help="What goes before a quote within a value (Spark writes \\).")
@click.option("--time-unit", type=click.Choice(["s", "ms", "us", "days", "iso"]), help="[s]")
@click.option("--action", help="Action of rows without one.")
@click.option("--items", "items_files", multiple=True, type=_FILE, help="File of the catalogue.")
@click.option("--items-map", multiple=True, help="item_id=COLUMN,topics=COLUMN+COLUMN,...")
@click.option("--items-where", multiple=True, help="COLUMN=VALUE: rows of it that are read.")
@click.option("--topics-separator", help="Between topics [|]; list: JSON or Python; none: one.")
@click.option("--follows", "follows_files", multiple=True, type=_FILE, help="File of follows.")
@click.option("--follows-map", multiple=True, help="user_id=COLUMN,topic=COLUMN,...")
@click.option("--encoding", help="Of text files. [utf-8]")
@click.option("--max-bad-share", type=click.FloatRange(0, 1), help="Rows refused at most. [0.01]")
@click.option("--mapping", type=_FILE, help="YAML file with all of this, or a source.json.")
@click.option("--format", "file_format", type=FORMATS, default="parquet", show_default=True)
@click.option("--force", is_flag=True, help="Replace tables that are in the folder already.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def table(
    out: Path | None,
    dry_run: bool,
    mapping: Path | None,
    file_format: str,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Make tables from FILES with columns: CSV, TSV, JSON lines or Parquet, compressed or not.

    FILES hold the engagements. Items come from --items, or from FILES where only
    --items-map is given. It prints how the first rows were understood; source.json
    keeps the mapping, so that `--mapping data/shop/source.json` reads the same again.

    \b
    tessera data import table events.csv --out data/shop \\
        --map user_id=visitorid,item_id=itemid,timestamp=timestamp,action=event --time-unit ms \\
        --items item_properties.csv --items-map item_id=itemid,topics=value \\
        --items-where property=categoryid
    """  # noqa: D301 - click reads the \b
    from input_tables.importers.table import import_table, mapping_of, try_table

    if out is None and not dry_run:
        raise click.UsageError("Missing option '--out'.")
    wanted = mapping_of(mapping, _tree(given))
    if dry_run or out is None:
        summary = try_table(wanted)
    else:
        summary = import_table(wanted, out, file_format, force)  # type: ignore[arg-type]
    if as_json:
        click.echo(json.dumps({"out": None if out is None else str(out), **summary}))
        return
    for name, counts in summary["tables"].items():
        _show_table(name, counts)
    show("first rows alone, nothing written" if dry_run else str(out), summary)


def _tree(given: dict[str, Any]) -> dict[str, Any]:
    """Returns the options as the keys of a mapping file."""
    from input_tables.importers.table import pairs

    def part(prefix: str, files: Any) -> dict[str, Any]:
        columns = pairs(given[f"{prefix}map{'' if prefix else '_'}"], f"--{prefix}map")
        found = {
            "files": [str(file) for file in files],
            "map": {key: value.split("+") for key, value in columns.items()},
            "where": pairs(given.get(f"{prefix}where", ()), f"--{prefix}where"),
        }
        return {key: value for key, value in found.items() if value}

    names = ("separator", "quotes", "escape", "time_unit", "action")
    tree = {name: given[name] for name in (*names, "topics_separator", "encoding", "max_bad_share")}
    tree["columns"] = given["columns"].split(",") if given["columns"] else None
    tree["items"] = part("items_", given["items_files"])
    tree["follows"] = part("follows_", given["follows_files"])
    return {**tree, **part("", given["files"])}


def _show_table(name: str, counts: dict[str, Any]) -> None:
    more = {"left_out": "left out", "merged": "merged into items above", "added": "from lists"}
    told = "".join(f", {counts[k]:,} {words}" for k, words in more.items() if counts[k])
    click.echo(
        f"{name}: {counts['read']:,} rows read from {counts['lines']:,} lines, "
        f"{counts['written']:,} written, {counts['refused']:,} refused{told}"
    )
    for path, how in counts["formats"].items():
        click.echo(f"  {path}: {how}")
    for row in counts["first_rows"]:
        click.echo(f"  line {row['line']}: {row['text']}")
        read_as = " ".join(f"{key}={value!r}" for key, value in row["read_as"].items())
        click.echo(f"    read as {read_as}")
    for reason, count in counts["reasons"].items():
        click.echo(f"  {count:,} x {reason}")
    for row in counts["examples"]:
        click.echo(f"    {row['file']}:{row['line']}: {row['reason']}: {row['text']}")
