"""`tessera run`: the whole pipeline on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.errors import BundleError, DataError, TesseraError
from pipeline.config import RunConfig, load_config
from pipeline.local.preflight import check_before_run

if TYPE_CHECKING:
    from input_tables.layout import TableSet

#: What fits a terminal of 80 columns; the report has all of them.
_SHOWN_METRICS = ("recall@10", "recall@50", "recall@100", "ndcg@10", "coverage")


@click.command()
@click.option("--conf", type=click.Path(path_type=Path), help="YAML configuration.")
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
@click.option(
    "--compiled",
    type=click.Path(path_type=Path),
    help="Run a file that `tessera compile` wrote, task by task, as Kubeflow would.",
)
@click.option("--run-date", help="With --compiled: last day of the data, YYYY-MM-DD.")
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="With --compiled: a parameter of the run, for example data_root=DIR.",
)
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path),
    default=Path("runs/compiled"),
    show_default=True,
    help="With --compiled: state, logs and artifacts.",
)
@click.option("--pipeline-root", help="With --compiled: URI of the artifacts.")
@click.option(
    "--object-store",
    help="With --compiled: `s3` for the store of the environment (AWS_ENDPOINT_URL), else a "
    "folder that stands for it.  [default: a folder in the work folder]",
)
@click.option(
    "--backend",
    default="2.17",
    show_default=True,
    metavar="VERSION",
    help="With --compiled: version of Kubeflow Pipelines whose launcher is imitated, 2.14 or 2.17.",
)
def run(
    conf: Path | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    no_cache: bool,
    as_json: bool,
    verbose: bool,
    compiled: Path | None,
    run_date: str | None,
    parameters: tuple[str, ...],
    work_dir: Path,
    pipeline_root: str | None,
    object_store: str | None,
    backend: str,
) -> None:
    """Run the pipeline: tables in, a validated and versioned retriever out.

    Ends with the metric table, the bundle's path and the report's path. A configuration
    with `pipeline: refresh` gives the published model a new index of the items table,
    without training.
    """
    if (conf is None) == (compiled is None):
        raise click.UsageError("say what to run: --conf FILE, or --compiled FILE")
    if compiled is not None:
        if overrides or dry_run:
            raise click.UsageError("--set and --dry-run go with --conf; compile the file again")
        from cli.run_compiled import compiled_places, run_file
        from kubeflow_pipelines.package import load_compiled
        from kubeflow_pipelines.parameters import RUN_DATE

        file = load_compiled(compiled)
        code = run_file(
            file,
            file.parameters({RUN_DATE: run_date}, parameters),
            compiled_places(work_dir, pipeline_root, object_store, backend),
            use_cache=not no_cache,
            as_json=as_json,
        )
        raise click.exceptions.Exit(code)
    if conf is None:
        return
    config = load_config(conf, overrides)
    check_before_run(config)
    if dry_run:
        _dry_run_refresh(config) if config.pipeline == "refresh" else _dry_run(config)
        return
    from pipeline.local.runner import run_local

    result = run_local(config, use_cache=not no_cache, verbose=verbose)
    if as_json:
        click.echo(json.dumps(result.report, indent=2))
    else:
        _print_result(result.report, result.run_dir)
    if result.error is not None:
        _print_error(result.error, result.run_dir, verbose)
    raise click.exceptions.Exit(result.exit_code)


def _dry_run(config: RunConfig) -> None:
    from input_tables.checking import check_tables
    from input_tables.remote_tables import checked_tables

    columns = config.retrieval.attribute_columns()
    rules = config.examples.rules(config.data)
    checked = check_tables(config.data, rules, attributes=columns, features=config.features)
    found = checked_tables(config.data, attributes=(*columns, *config.features.columns()))
    console = Console(soft_wrap=True)
    for warning in checked["warnings"]:
        console.print(f"[yellow]![/] {escape(warning)}", highlight=False)
    if checked["errors"]:
        errors = "\n  ".join(checked["errors"])
        raise DataError(f"{config.data.root}: the tables cannot be used:\n  {errors}")
    _print_tables(console, config.name, found)
    console.print(f"  model        {config.model.name}, work_dir {config.work_dir}")
    from pipeline.dag import build_components
    from pipeline.local.runner import local_paths

    nodes = build_components(config, local_paths(config, Path(config.work_dir).resolve()))
    console.print("  " + " → ".join(node.id for node in nodes))


def _dry_run_refresh(config: RunConfig) -> None:
    from input_tables.remote_tables import checked_tables
    from pipeline.refresh.resolve import resolve_refresh

    refresh = resolve_refresh(config)
    known = refresh.config
    columns = (*known.retrieval.attribute_columns(), *known.features.columns())
    found = checked_tables(config.data, items_only=True, attributes=columns)
    console = Console(soft_wrap=True)
    _print_tables(console, config.name, found)
    parent = refresh.parent.manifest
    console.print(
        f"  model        version {parent.version} of {parent.created_at}, "
        f"work_dir {config.work_dir}",
        highlight=False,
    )
    for key in refresh.ignored:
        console.print(f"  not followed {key}", highlight=False, markup=False)
    from pipeline.local.runner import local_paths
    from pipeline.refresh.dag import build_refresh_components

    paths = local_paths(refresh.config, Path(config.work_dir).resolve())
    console.print("  " + " → ".join(node.id for node in build_refresh_components(refresh, paths)))


def _print_tables(console: Console, name: str, found: TableSet) -> None:
    console.print(f"[bold]{name}[/]: configuration and inputs are in order")
    for table in sorted({file.table for file in found.files}):
        files = found.of(table)
        size = sum(file.bytes for file in files)
        console.print(f"  {table:<12} {len(files)} file(s), {size / 1e6:,.1f} MB")


def _print_result(report: dict[str, Any], run_dir: Path) -> None:
    # A pipe has no width: leave room for the table instead of cutting words.
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 110)
    metrics = report.get("metrics") or {}
    catalogue = (report.get("data") or {}).get("catalogue")
    if catalogue:
        _print_catalogue(console, catalogue)
    elif metrics:
        console.print(_metric_table(report))
        _print_floors_above(console, report)
        _print_merges(console, report)
    if report.get("pushed_version"):
        console.print(f"bundle  {report['bundle']}", highlight=False)
        _print_whether_served(console, report, catalogue)
    elif metrics:
        reason = report.get("not_pushed_reason") or "not blessed"
        console.print(f"[yellow]not pushed[/]: {escape(reason)}")
    console.print(f"report  {run_dir / 'report.html'}", highlight=False)


def _print_catalogue(console: Console, catalogue: dict[str, Any]) -> None:
    """Says what a refresh found in the items table."""
    before = catalogue["served_version"]
    if catalogue["unchanged"]:
        console.print(f"items   {catalogue['items']:,}, the same as in version {before}")
        return
    console.print(
        f"items   {catalogue['items']:,}: {catalogue['added']:,} new, "
        f"{catalogue['removed']:,} gone, {catalogue['topics_changed']:,} with other topics "
        f"than in version {before}",
        highlight=False,
    )


def _print_whether_served(
    console: Console, report: dict[str, Any], catalogue: dict[str, Any] | None
) -> None:
    """Says that nothing new was published, or that labels keep the new version from answering."""
    from components.bundle.mirror import mirrored
    from components.bundle.served import served

    version = report["pushed_version"]
    if catalogue and version == catalogue["served_version"]:
        console.print(f"        version {version} has this content: nothing to publish")
        return
    try:
        serving_dir, name, _ = str(report["bundle"]).rsplit("/", 2)
        with mirrored(serving_dir, name) as root:
            now = served(root / name)
    except BundleError:  # of unreadable pins; the log of the push names them
        return
    if now.labels and version not in now.versions:
        labels = ", ".join(f"{label} is version {number}" for label, number in now.labels.items())
        console.print(
            f"        not served yet ({labels}): tessera promote {version}", highlight=False
        )


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


def _print_merges(console: Console, report: dict[str, Any]) -> None:
    """Prints what each merge of the slots would give; nothing for a model with one slot."""
    from pipeline.report.retrieval import rows

    columns, lines = rows(report.get("merge_curve") or [])
    if not lines:
        return
    title = "recall against spread, by merge"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for line in lines:
        table.add_row(*line, style="bold" if line[0].endswith("(served)") else "")
    console.print(table)


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
    rows |= {f"limit: {name}": values for name, values in (report.get("limits") or {}).items()}
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
