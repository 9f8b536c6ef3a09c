"""`tessera data`: generate, import and check input tables."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.data_import import FORMATS, import_

if TYPE_CHECKING:
    from input_tables.config import DataConfig
    from input_tables.verdict import Rules
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
@click.option(
    "--features", is_flag=True, help="Columns of items, and a table users, that tell of interests."
)
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
@click.option("--conf", type=click.Path(path_type=Path), help="Take all below from a run's YAML.")
@click.option("--root", help="Folder of the tables, or their s3:// or gs:// URL.")
@click.option(
    "--layout",
    type=click.Choice(["auto", "single", "spans"]),
    help="One file per table, or a folder per table and day.  [default: auto]",
)
@click.option("--run-date", type=_DAY, help="Last day of the window (needed for spans).")
@click.option("--window-days", type=click.IntRange(1), help="[default: 14]")
@click.option(
    "--time-unit",
    type=click.Choice(["seconds", "order"]),
    help="order: timestamps are positions, no epoch checks.  [default: seconds]",
)
@click.option("--negative-action", multiple=True, help="Pattern of actions; may be given again.")
@click.option("--csv-escape", type=click.Choice(["\\"]), help="A backslash, for CSV by Spark.")
@click.option("--topics-separator", help="Between an item's topics in CSV.  [default: |]")
@click.option(
    "--max-bad-share",
    type=click.FloatRange(0.0, 1.0),
    help="Bad rows of one table that make the answer no.  [default: 0.01]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(conf: Path | None, run_date: dt.datetime | None, as_json: bool, **given: Any) -> None:
    """Read all tables and tell whether a run could use them.

    Says what `tessera run` would say of them, with the same exit code: 2 when the layout, a
    header, a file, too many rows or the tables as a whole are wrong.

    \b
    tessera data check --root data/demo
    tessera data check --conf conf/local.yaml
    """  # noqa: D301 - click reads the \b
    from core.errors import DataError
    from input_tables.checking import check_tables

    given["run_date"] = run_date.date() if run_date else None
    config, rules, further = _asked(conf, {k: v for k, v in given.items() if v})
    result = check_tables(config, rules, **further)
    if as_json:
        click.echo(json.dumps(result))
    else:
        _show(result)
    if result["errors"]:
        errors = "\n  ".join(result["errors"])
        raise DataError(f"{config.root}: the tables cannot be used:\n  {errors}")


def _asked(conf: Path | None, given: dict[str, Any]) -> tuple[DataConfig, Rules, dict[str, Any]]:
    """Returns what to check: a run's configuration, changed by the options that were given."""
    from components.config import ExamplesConfig
    from input_tables.config import DataConfig
    from pipeline.config import load_config

    data, examples = dict[str, Any](), dict[str, Any]()
    for key, value in given.items():
        if key in DataConfig.model_fields:
            data[key] = value
        else:
            examples["negative_actions" if key == "negative_action" else key] = value
    if conf is None:
        if "root" not in data:
            raise click.UsageError("say which tables: --root DIR|URL, or --conf FILE")
        if data.get("layout") == "spans" and "run_date" not in data:
            raise click.UsageError("--layout spans needs --run-date YYYY-MM-DD")
        config = DataConfig(**data)
        return config, ExamplesConfig(**examples).rules(config), {}
    run = load_config(conf, ())
    config = run.data.model_copy(update=data)
    rules = run.examples.model_copy(update=examples).rules(config)
    further = {"attributes": run.retrieval.attribute_columns(), "features": run.features}
    return config, rules, further


def _show(result: dict[str, Any]) -> None:
    window = f", {result['window'][0]} to {result['window'][1]}" if result["window"] else ""
    click.echo(f"layout {result['layout']}{window}, fingerprint {result['fingerprint']}")
    for table, entry in result["tables"].items():
        lines = f" of {entry['lines']:,} lines" if entry["lines"] else ""
        click.echo(
            f"  {table:<12}{entry['rows']:>12,} rows {entry['bad']:>8,} bad "
            f"{entry['files']:>5,} files {entry['bytes'] / 1e6:>10,.1f} MB{lines}"
        )
    for fact, value in result["facts"].items():
        if value not in (0, None):
            share = isinstance(value, float)
            shown = f"{value:.1%}" if share else json.dumps(value, ensure_ascii=False)
            click.echo(f"  {fact}: {f'{value:,}' if isinstance(value, int) else shown}")
    for reason, count in result["reasons"].items():
        click.echo(f"  {count:,} x {reason}")
    for letter in result["problems"]:
        click.echo(f"    {letter['file']}:{letter['row']}: {letter['reason']}: {letter['text']!r}")
    for warning in result["warnings"]:
        click.echo(f"  warning: {warning}")
