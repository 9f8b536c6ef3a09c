"""`tessera runs`: the runs of the pipeline on Kubeflow Pipelines."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.kubeflow_options import (
    KubeflowServer,
    experiment_name,
    registry_of,
    server_options,
)
from kubeflow_pipelines.parameters import MODEL_NAME, SERVING_ROOT, pipeline_name

if TYPE_CHECKING:
    from kubeflow_pipelines.client.api import KubeflowClient
    from kubeflow_pipelines.client.records import Run


@click.command()
@server_options
@click.option("--pipeline", "name", help="Name of the pipeline [default: the configuration's].")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many runs."
)
@click.option("--run-date", metavar="YYYY-MM-DD", help="Only runs of this day.")
@click.option(
    "--serving-root",
    metavar="DIR",
    help="Where versions are published [default: where the runs publish].",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def runs(
    conf: Path,
    host: str | None,
    namespace: str | None,
    name: str | None,
    limit: int,
    run_date: str | None,
    serving_root: str | None,
    as_json: bool,
) -> None:
    """List the pipeline's runs, the newest first, with the version published for their day.

    The version is empty where nothing of that day is published, `?` where the serving
    folder cannot be read from here.
    """
    from kubeflow_pipelines.client.dates import parse_day

    day = None if run_date is None else parse_day(run_date, "--run-date")
    server = KubeflowServer(conf, host, namespace)
    config = server.config()
    client = server.connect(config)
    name = name or pipeline_name(config)
    found = _find(client, experiment_name(config, name), name, day, limit)
    given = {SERVING_ROOT: serving_root} if serving_root else {}
    published = registry_of(config, _where(found) | given)()
    if as_json:
        rows = [_row(run, published) for run in found]
        known = published is not None
        document = {"pipeline": name, "registry_readable": known, "runs": rows}
        click.echo(json.dumps(document, indent=2))
        return
    if not found:
        click.echo(f"no runs of {name} on {client.connection.host}")
        return
    _print(found, published)


def _find(
    client: KubeflowClient, experiment: str, name: str, day: dt.date | None, limit: int
) -> list[Run]:
    experiment_id, pipeline_id = client.find_experiment(experiment), client.find_pipeline(name)
    if experiment_id is None or pipeline_id is None:
        return []
    matching = (
        run for run in client.runs(experiment_id, pipeline_id) if day is None or run.day == day
    )
    return list(itertools.islice(matching, limit))


def _where(found: list[Run]) -> dict[str, Any]:
    """Returns serving folder and model's name where all runs are given the same."""
    same = {}
    for name in (SERVING_ROOT, MODEL_NAME):
        values = {str(run.parameters.get(name) or "") for run in found}
        if len(values) == 1 and values != {""}:
            same[name] = values.pop()
    return same


def _row(run: Run, published: dict[dt.date, int] | None) -> dict[str, Any]:
    return {
        "run_date": None if run.day is None else run.day.isoformat(),
        "state": run.shown_state,
        "created_at": None if run.created_at is None else run.created_at.isoformat(),
        "seconds": run.seconds,
        "run_id": run.run_id,
        "name": run.name,
        "version": (published or {}).get(run.day) if run.day is not None else None,
        "reason": run.reason,
        "link": run.link,
    }


def _print(found: list[Run], published: dict[dt.date, int] | None) -> None:
    from cli.text_table import print_table

    rows = []
    for run in found:
        version = (published or {}).get(run.day) if run.day is not None else None
        shown = "" if version is None else str(version)
        created = "" if run.created_at is None else f"{run.created_at:%Y-%m-%d %H:%M}"
        rows.append(
            (
                "" if run.day is None else run.day.isoformat(),
                run.shown_state,
                created,
                "" if run.seconds is None else str(dt.timedelta(seconds=int(run.seconds))),
                run.run_id,
                "?" if published is None else shown,
            )
        )
    print_table(("run date", "state", "created (UTC)", "took", "run", "version"), rows)
