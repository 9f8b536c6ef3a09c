"""`tessera experiment`: many models on equal data, one table."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from core.errors import ConfigError
from research.experiment.config import ExperimentConfig, load_experiment, select

if TYPE_CHECKING:
    from research.experiment.run import Planned

_SHOWN = ("recall@10", "recall@100", "ndcg@10", "coverage@100", "user_cosine", "examples_per_s")


@click.command()
@click.option("--conf", type=click.Path(path_type=Path), required=True, help="Experiment, YAML.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key, for example num_results=50; may be given again.",
)
@click.option("--seeds", default="", metavar="1,2", help="Only these seeds.")
@click.option("--datasets", default="", metavar="A,B", help="Only these data sets.")
@click.option("--models", default="", metavar="M,N", help="Only these models and the baseline.")
@click.option("--dry-run", is_flag=True, help="List the trainings and which are cached.")
@click.option(
    "--publish",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that gets results.json, rounded, as <name>.json.",
)
@click.option("--json", "as_json", is_flag=True, help="Print results.json on stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Show the log of the data's preparation.")
def experiment(
    conf: Path,
    overrides: tuple[str, ...],
    seeds: str,
    datasets: str,
    models: str,
    dry_run: bool,
    publish: Path | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Train and compare models on equal data, seeds, steps and results per request.

    Finished runs are reused and an interrupted training goes on: after a kill, give the
    same command again. Ends with one table; the report has all of it.
    """
    config = load_experiment(conf, overrides)
    if config.kind == "models":
        config = select(
            config, seeds=_numbers(seeds), datasets=_words(datasets), models=_words(models)
        )
    elif seeds or datasets or models:
        raise ConfigError(
            f"{config.name}: a cost experiment has no parts to choose with --seeds, --datasets or "
            "--models; --set changes it, for example --set cost.requests=50"
        )
    if dry_run:
        _dry_run(config, as_json)
        return
    from research.experiment.run import run_experiment

    results, out_dir = run_experiment(config, publish=publish, verbose=verbose)
    if as_json:
        click.echo(json.dumps(results, indent=2))
        return
    # A pipe has no width: leave room for the table instead of cutting words.
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 130)
    for name, content in results.get("datasets", {}).items():
        console.print(_table(name, content))
    for name in ("results.json", "report.md", "report.html"):
        console.print(f"{name:<13}{out_dir / name}", highlight=False)


def _dry_run(config: ExperimentConfig, as_json: bool) -> None:
    if config.kind == "cost":
        raise ConfigError(f"{config.name}: a cost experiment has no trainings to list")
    from research.experiment.run import dry_run

    planned = dry_run(config)
    if as_json:
        click.echo(json.dumps([asdict(job) for job in planned], indent=2))
        return
    for job in planned:
        took = "" if job.minutes is None else f"{job.minutes:6.1f} min"
        click.echo(f"{job.dataset} {job.model} seed {job.seed:<4} {job.state:<15}{took}".rstrip())
    click.echo(_estimate(config, planned))


def _estimate(config: ExperimentConfig, planned: list[Planned]) -> str:
    left = [job for job in planned if job.state != "cached"]
    known = [job.minutes for job in left if job.minutes is not None]
    text = f"{len(planned)} trainings, {len(planned) - len(left)} cached"
    if not left:
        return text
    if len(known) == len(left):
        return f"{text}, about {sum(known):.0f} minutes to go"
    return f"{text}; the whole experiment is stated to take {config.minutes:.0f} minutes"


def _table(name: str, content: Mapping[str, Any]) -> Table:
    seeds = len(content["seeds"])
    title = f"{name}: mean of {seeds} seeds ± standard deviation, baseline {content['baseline']}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for metric in _SHOWN:
        table.add_column(metric, justify="right")
    for row in content["rows"]:
        cells = [_cell(row["figures"].get(metric)) for metric in _SHOWN]
        style = "bold" if row["row"] == content["baseline"] else ""
        table.add_row(row["row"], *cells, style=style)
    for floor, values in content["floors"].items():
        shown = [_cell({"mean": values[m]}) if m in values else "" for m in _SHOWN]
        table.add_row(floor, *shown, style="dim")
    return table


def _cell(stat: Mapping[str, Any] | None) -> str:
    if stat is None or stat["mean"] is None:
        return ""
    if stat["mean"] >= 100:
        return f"{stat['mean']:,.0f}"
    spread = f" ± {stat['std']:.4f}" if stat.get("std") else ""
    return f"{stat['mean']:.4f}{spread}"


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _numbers(text: str) -> tuple[int, ...]:
    """Returns the numbers of `1,2`.

    Raises:
      ConfigError: one of them is not a number.
    """
    words = _words(text)
    for word in words:
        if not word.isdigit():
            raise ConfigError(f"--seeds {text!r}: {word!r} is not a number; for example 1,2")
    return tuple(int(word) for word in words)
