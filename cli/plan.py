"""`tessera plan`: what a size will cost, before anything runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from cli.text_table import print_table
from pipeline.config import RunConfig, load_tree, merge_trees, validate_tree
from pipeline.plan.laws import size_of
from pipeline.plan.plan import CONSTANTS_FILE, make_plan, read_constants

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan

_COUNT = click.IntRange(1)


@click.command()
@click.option("--rows", type=_COUNT, required=True, help="Engagements in the window.")
@click.option("--items", type=_COUNT, required=True, help="Items of the catalogue.")
@click.option("--users", type=_COUNT, required=True, help="Users with engagements.")
@click.option("--history", type=_COUNT, help="History items kept (transform.history_max_items).")
@click.option("--interests", type=_COUNT, help="K, implicit slots (model.num_interests).")
@click.option("--results", type=_COUNT, help="N, items of an answer (retrieval.num_results).")
@click.option(
    "--requests-per-second",
    type=click.FloatRange(0),
    default=100,
    show_default=True,
    help="At the busiest time.",
)
@click.option(
    "--cores",
    type=_COUNT,
    default=4,
    show_default=True,
    help="Of a pod that uses several: training, index, evaluation, serving.",
)
@click.option(
    "--conf",
    type=click.Path(path_type=Path),
    help="Configuration whose model and training are meant  [default: every option's default].",
)
@click.option(
    "--constants",
    "constants_file",
    type=click.Path(path_type=Path),
    default=CONSTANTS_FILE,
    show_default=True,
    help="Measured by `make bench-scale`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def plan(
    rows: int,
    items: int,
    users: int,
    history: int | None,
    interests: int | None,
    results: int | None,
    requests_per_second: float,
    cores: int,
    conf: Path | None,
    constants_file: Path,
    as_json: bool,
) -> None:
    """Forecast time, memory, disk and pods of each step from the size of the data.

    The constants are measured on a machine (docs/scale.md says how), and it is told how far
    off they were on other runs; the last lines go into a configuration for Kubeflow.
    """
    given = {
        "transform": {"history_max_items": history},
        "model": {"num_interests": interests},
        "retrieval": {"num_results": results},
    }
    wanted = {
        section: {key: value for key, value in keys.items() if value is not None}
        for section, keys in given.items()
    }
    # A plan reads no table: the folder need not be there.
    tree = merge_trees({"data": {"root": "tables"}}, load_tree(conf) if conf else {})
    config = validate_tree(RunConfig, merge_trees(tree, wanted), conf or "tessera plan")
    constants = read_constants(constants_file)
    made = make_plan(size_of(config, rows, items, users), cores, requests_per_second, constants)
    if as_json:
        found = {**dataclasses.asdict(made), "resources": made.resources()}
        click.echo(json.dumps({**found, "basis": constants["basis"]}))
    else:
        _show(made)
        _warn(rows, items, constants["basis"])


def _show(plan: Plan) -> None:
    rows = [
        (
            step.step,
            f"{step.cpu_s:,.0f}",
            _duration(step.wall_s),
            f"{step.memory_gb:.1f}",
            f"{step.disk_gb:.2f}",
            str(step.cores),
        )
        for step in plan.steps
    ]
    print_table(("step", "CPU s", "time", "memory GB", "disk GB", "cores"), rows)
    serving = plan.serving
    click.echo(
        f"a run: {_duration(plan.wall_s)}, one step after the other, "
        f"{plan.disk_gb:.1f} GB of disk\n"
        f"serving: {1000 * serving.request_cpu_s:.1f} CPU ms a request, {serving.replicas} pods of "
        f"{serving.cores} cores and {serving.resources()['memory_request_gb']:.1f} GB "
        f"(two versions during a swap)\n"
    )
    click.echo(yaml.safe_dump({"kubeflow": {"resources": plan.resources()}}, sort_keys=False))


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{max(1, minutes)} min"


def _warn(rows: int, items: int, basis: dict[str, Any]) -> None:
    """Says what the constants rest on, and where the forecast goes beyond it."""
    error = basis["worst_error"]
    off = "on no other run" if error is None else f"at most {error:.0%} off on other runs"
    click.echo(f"constants of {basis['runs']} measured runs, tried {off}", err=True)
    for what, asked, most in (
        ("rows", rows, basis["largest_rows"]),
        ("items", items, basis["largest_items"]),
    ):
        if asked > most:
            click.echo(
                f"! {asked:,} {what} are {asked / most:,.0f} times the most that was measured",
                err=True,
            )
