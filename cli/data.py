"""`tessera data`: generate, import and check input tables."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import click

from cli.data_import import FORMATS, import_

_DAY = click.DateTime(formats=["%Y-%m-%d"])
_SHARE = click.FloatRange(0.0, 1.0)
_RATIO = click.FloatRange(0.0, 10.0)


@click.group()
def data() -> None:
    """Generate, import and check input tables (docs/data.md)."""


@data.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option("--users", type=click.IntRange(1), help="Number of users.")
@click.option("--items", type=click.IntRange(1), help="Number of items.")
@click.option("--topics", type=click.IntRange(4), help="Broad topics and sub-topics together.")
@click.option("--days", type=click.IntRange(1), help="Length of the log in days.")
@click.option("--engagements", type=click.IntRange(1), help="About so many engagements.")
@click.option("--user-events-min", type=click.IntRange(1), help="Engagements per user, at least.")
@click.option("--user-events-max", type=click.IntRange(1), help="Engagements per user, at most.")
@click.option("--interests-min", type=click.IntRange(1), help="Interests of a user, at least.")
@click.option("--interests-max", type=click.IntRange(1), help="Interests of a user, at most.")
@click.option("--follow-share", type=_SHARE, help="Share of the interests that are followed.")
@click.option("--undated-share", type=_SHARE, help="Share of follows without a date.")
@click.option("--view-share", type=_RATIO, help="Views on top, as a share of engagements.")
@click.option("--search-share", type=_RATIO, help="Searches on top, as a share of engagements.")
@click.option("--seed", type=click.IntRange(0), help="Equal seeds give equal tables.")
@click.option("--end-date", type=_DAY, help="Last day of the log (UTC).")
@click.option("--format", "file_format", type=FORMATS, default="parquet", show_default=True)
@click.option(
    "--layout",
    type=click.Choice(["single", "spans"]),
    default="single",
    show_default=True,
    help="One file per table, or a folder per table and day.",
)
@click.option("--force", is_flag=True, help="Replace tables that are in the folder already.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def generate(
    out: Path,
    file_format: str,
    layout: str,
    force: bool,
    as_json: bool,
    end_date: dt.datetime | None,
    **numbers: float | None,
) -> None:
    """Make synthetic tables with known latent interests.

    Users have several interests of unequal weight, follow topics that overlap with
    them only in part, and engage through several sources. What drove each
    engagement is written to truth/, which no run reads.

    \b
    tessera data generate --out data/demo --users 2000 --seed 1
    """  # noqa: D301 - click reads the \b
    from pydantic import ValidationError

    from input_tables.generate import GeneratorConfig, write_generated

    given: dict[str, Any] = {key: value for key, value in numbers.items() if value is not None}
    if end_date is not None:
        given["end_date"] = end_date.date()
    try:
        config = GeneratorConfig(**given)
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise click.UsageError(reason.replace("_", "-")) from error
    counts = write_generated(config, out, file_format, layout, force)  # type: ignore[arg-type]
    if as_json:
        click.echo(json.dumps({"out": str(out), **counts}))
        return
    click.echo(
        f"{out}: {counts['engagements']:,} engagements of {counts['users']:,} users with "
        f"{counts['items']:,} items, {counts['follows']:,} follows ({counts['seconds']} s)"
    )


data.add_command(import_)


@data.command()
@click.option("--root", required=True, help="Folder of the tables, or their s3:// or gs:// URL.")
@click.option(
    "--layout",
    type=click.Choice(["auto", "single", "spans"]),
    default="auto",
    show_default=True,
    help="One file per table, or a folder per table and day.",
)
@click.option("--run-date", type=_DAY, help="Last day of the window (needed for spans).")
@click.option("--window-days", type=click.IntRange(1), default=14, show_default=True)
@click.option(
    "--time-unit",
    type=click.Choice(["seconds", "order"]),
    default="seconds",
    show_default=True,
    help="order: timestamps are positions, no epoch checks.",
)
@click.option(
    "--max-bad-share",
    type=click.FloatRange(0.0, 1.0),
    default=0.01,
    show_default=True,
    help="Bad rows of one table that make the answer no.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(
    root: str,
    layout: str,
    run_date: dt.datetime | None,
    window_days: int,
    time_unit: str,
    max_bad_share: float,
    as_json: bool,
) -> None:
    """Read all tables and tell whether a run could use them.

    Exits with 2 when the layout, a header, a file or too many rows are wrong.

    \b
    tessera data check --root data/demo
    """  # noqa: D301 - click reads the \b
    from core.errors import DataError
    from input_tables.checking import check_tables
    from input_tables.config import DataConfig
    from input_tables.remote import local_tables

    if layout == "spans" and run_date is None:
        raise click.UsageError("--layout spans needs --run-date YYYY-MM-DD")
    config = DataConfig(
        root=root,
        layout=layout,  # type: ignore[arg-type]
        run_date=run_date.date() if run_date else None,
        window_days=window_days,
    )
    with local_tables(config) as local:
        result = check_tables(local, time_unit)  # type: ignore[arg-type]
    result["passed"] = result["rows"] > 0 and result["bad_share"] <= max_bad_share
    if as_json:
        click.echo(json.dumps(result))
    else:
        _show(result)
    if not result["passed"]:
        raise DataError(
            f"{root}: {result['bad']:,} of {result['rows']:,} rows break the contract; at most "
            f"{max_bad_share:.2%} of a table may (--max-bad-share)"
        )


def _show(result: dict[str, Any]) -> None:
    window = f", {result['window'][0]} to {result['window'][1]}" if result["window"] else ""
    click.echo(f"layout {result['layout']}{window}, fingerprint {result['fingerprint']}")
    for table, entry in result["tables"].items():
        click.echo(
            f"  {table:<12}{entry['rows']:>12,} rows {entry['bad']:>8,} bad "
            f"{entry['files']:>5,} files {entry['bytes'] / 1e6:>10,.1f} MB"
        )
    for fact, value in result["facts"].items():
        if value not in (0, None):
            shown = f"{value:,}" if isinstance(value, int) else json.dumps(value)
            click.echo(f"  {fact}: {shown}")
    for reason, count in result["reasons"].items():
        click.echo(f"  {count:,} x {reason}")
    for letter in result["problems"]:
        click.echo(f"    {letter['file']}:{letter['row']}: {letter['reason']}: {letter['text']!r}")
