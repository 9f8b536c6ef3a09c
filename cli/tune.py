"""`tessera tune`: the same small hyper-parameter search for every model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from core.errors import ConfigError, StoppedError
from pipeline.config import RunConfig, load_config
from research.tuning.config import TuningConfig, checked_space, load_tuning, with_settings

if TYPE_CHECKING:
    from research.tuning.search import SearchResult


@click.command()
@click.option("--conf", type=click.Path(path_type=Path), required=True, help="Run configuration.")
@click.option("--models", required=True, help="Names, separated by commas.")
@click.option(
    "--trials", type=click.IntRange(1), required=True, help="Of every model, the current first."
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="YAML to write."
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--epochs", type=click.IntRange(1), help="Of every trial; else trainer.epochs.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="MIN",
    help="Minutes after which no further turn begins.",
)
@click.option("--space", type=click.Path(path_type=Path), help="YAML with another space.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key of the run configuration; may be given again.",
)
@click.option("--dry-run", is_flag=True, help="Check everything and show the space, run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-v", "--verbose", is_flag=True, help="Show the full log on the terminal.")
def tune(
    conf: Path,
    models: str,
    trials: int,
    out: Path,
    seed: int,
    epochs: int | None,
    timeout: float | None,
    space: Path | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Search settings for each of MODELS with the same space, trials and epochs.

    The value of a trial is its best epoch's validation recall; the eval split is never
    read. The first trial has the settings of the configuration. The same command resumes
    after a kill and runs only the trials that are missing.

    \b
    tessera tune --conf conf/demo.yaml --models two_tower,dcm --trials 8 --out tuned.yaml
    """  # noqa: D301 - click reads the \b
    tuning = load_tuning(space)
    config = _config(conf, overrides, seed, epochs)
    names = _model_names(config, models)
    if dry_run:
        _dry_run(config, tuning, names, trials, as_json)
        return
    from research.tuning.output import write_overlays
    from research.tuning.run import run_tuning
    from research.tuning.search import budget_in_words, result_json

    seconds = None if timeout is None else 60.0 * timeout
    try:
        result = run_tuning(conf, config, tuning, names, trials, seconds, say=_say, verbose=verbose)
    except KeyboardInterrupt:
        raise StoppedError(
            "stopped; run the same command again: finished trials are kept and a training resumes"
        ) from None
    words = budget_in_words(result, config.trainer.epochs, tuple(tuning.space))
    files = write_overlays(out, conf, result, words, overrides)
    metric = f"validation recall@{config.trainer.early_stopping_metric_k}"
    if as_json:
        facts = {"conf": str(conf), "seed": seed, "epochs": config.trainer.epochs, "metric": metric}
        facts["search_budget"], facts["files"] = words, [str(path) for path in files]
        click.echo(json.dumps(result_json(result, facts), indent=2))
    else:
        _show(result, metric, files)


def _show(result: SearchResult, metric: str, files: list[Path]) -> None:
    from research.tuning.output import result_table, set_options

    shown = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 110)
    shown.print(result_table(result, metric))
    for found in result.models:
        shown.print(f"{found.model}: {set_options(found)}", highlight=False)
    if result.timed_out:
        done = len(result.models[0].outcomes)
        shown.print(
            f"[yellow]time is over[/]: {done} of {result.trials} trials of every model; the same "
            "command goes on"
        )
    shown.print("written " + ", ".join(map(str, files)), highlight=False)


def _say(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(text, highlight=False, markup=False)


def _config(conf: Path, overrides: tuple[str, ...], seed: int, epochs: int | None) -> RunConfig:
    """The configuration of every trial: no early stop, no warm start, one seed."""
    config = load_config(conf, overrides)
    epochs = epochs or config.trainer.epochs
    fixed = {
        "trainer.epochs": epochs,
        "trainer.early_stopping_patience": epochs,
        "trainer.seed": seed,
        "trainer.refit": False,
        "trainer.warm_start": False,
    }
    return with_settings(config, fixed, str(conf))


def _model_names(config: RunConfig, models: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in models.split(",") if name.strip())
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"--models {models!r}: expected different names, separated by commas")
    for name in names:
        with_settings(config, {"model.name": name}, f"--models {name}")
    return names


def _dry_run(
    config: RunConfig, tuning: TuningConfig, names: tuple[str, ...], trials: int, as_json: bool
) -> None:
    from input_tables.layout import check_headers, find_tables

    columns = config.features.columns()
    check_headers(find_tables(config.data, columns), columns)
    space = checked_space(config, tuning)
    if as_json:
        shown = {key: entry.model_dump(mode="json") for key, entry in space.items()}
        click.echo(json.dumps({"models": names, "trials": trials, "space": shown}))
        return
    click.echo(
        f"models {', '.join(names)}: {trials} trials of {config.trainer.epochs} epochs each; "
        "configuration and inputs are in order"
    )
    for key, entry in space.items():
        values = ", ".join(json.dumps(value) for value in entry.values)
        scale = ", logarithmic" if entry.log else ""
        click.echo(f"  {key:<26}{values or f'{entry.low:g} to {entry.high:g}{scale}'}")
