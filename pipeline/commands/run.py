"""`tessera run`: the whole pipeline on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from core.errors import TesseraError
from pipeline.config import RunConfig, load_config
from pipeline.preflight import refuse_more_results_than_items

#: What fits a terminal of 80 columns; the report has all of them.
_SHOWN_METRICS = ("recall@10", "recall@50", "recall@100", "ndcg@10", "coverage")


@click.command()
@click.option("--conf", type=click.Path(path_type=Path), required=True, help="YAML configuration.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key, for example trainer.epochs=3; may be given again.",
)
@click.option("--dry-run", is_flag=True, help="Check configuration and inputs, run nothing.")
@click.option("--no-cache", is_flag=True, help="Run every component anew.")
@click.option("--json", "as_json", is_flag=True, help="Print report.json on stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Show the full log on the terminal.")
def run(
    conf: Path,
    overrides: tuple[str, ...],
    dry_run: bool,
    no_cache: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Run the pipeline: tables in, a validated and versioned retriever out.

    Ends with the metric table, the bundle's path and the report's path.
    """
    config = load_config(conf, overrides)
    refuse_more_results_than_items(config)
    if dry_run:
        _dry_run(config)
        return
    from pipeline.local_runner import run_local

    result = run_local(config, use_cache=not no_cache, verbose=verbose)
    if as_json:
        click.echo(json.dumps(result.report, indent=2))
    else:
        _print_result(result.report, result.run_dir)
    if result.error is not None:
        _print_error(result.error, result.run_dir, verbose)
    raise click.exceptions.Exit(result.exit_code)


def _dry_run(config: RunConfig) -> None:
    from tables.layout import check_headers, find_tables

    found = find_tables(config.data)
    check_headers(found)
    console = Console(soft_wrap=True)
    console.print(f"[bold]{config.name}[/]: configuration and inputs are in order")
    for table in sorted({file.table for file in found.files}):
        files = [file for file in found.files if file.table == table]
        size = sum(file.bytes for file in files)
        console.print(f"  {table:<12} {len(files)} file(s), {size / 1e6:,.1f} MB")
    console.print(f"  model        {config.model.name}, work_dir {config.work_dir}")
    from pipeline.dag import build_components
    from pipeline.local_runner import local_paths

    nodes = build_components(config, local_paths(config, Path(config.work_dir).resolve()))
    console.print("  " + " → ".join(node.id for node in nodes))


def _print_result(report: dict[str, Any], run_dir: Path) -> None:
    # A pipe has no width: leave room for the table instead of cutting words.
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 110)
    metrics = report.get("metrics") or {}
    if metrics:
        console.print(_metric_table(report))
        _print_floors_above(console, report)
    if report.get("pushed_version"):
        console.print(f"bundle  {report['bundle']}", highlight=False)
    elif metrics:
        console.print(
            "[yellow]not pushed[/]: " + (report.get("not_pushed_reason") or "not blessed")
        )
    console.print(f"report  {run_dir / 'report.html'}", highlight=False)


def _print_floors_above(console: Console, report: dict[str, Any]) -> None:
    """Says which floor or previous version is above the model, and where."""
    for name, metrics in (report.get("baselines") or {}).items():
        above = [
            metric
            for metric in _SHOWN_METRICS
            if metric != "coverage" and metrics.get(metric, 0) > report["metrics"].get(metric, 0)
        ]
        if above:
            console.print(f"[yellow]![/] {name} is above the model at {', '.join(above)}")


def _metric_table(report: dict[str, Any]) -> Table:
    table = Table(
        title=f"{report['config']['model']['name']} beside the floors",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("")
    for metric in _SHOWN_METRICS:
        table.add_column(metric, justify="right")
    rows = {"model": report["metrics"], **(report.get("baselines") or {})}
    for name, metrics in rows.items():
        values = [metrics.get(metric) for metric in _SHOWN_METRICS]
        style = "bold" if name == "model" else ""
        table.add_row(name, *("" if v is None else f"{v:.4f}" for v in values), style=style)
    return table


def _print_error(error: Exception, run_dir: Path, verbose: bool) -> None:
    known = isinstance(error, TesseraError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    shown = text if verbose or known else text[:600]
    click.echo(f"tessera: {shown}\nfull log: {run_dir / 'run.log'}", err=True)
