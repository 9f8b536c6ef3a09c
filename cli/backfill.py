"""`tessera backfill`: the days of the past that are missing."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.kubeflow_options import (
    KubeflowServer,
    Parameters,
    launch_of,
    parameter_options,
    registry_of,
    require_days,
    server_options,
)
from core.errors import ConfigError
from kubeflow_pipelines.parameters import DATA_ROOT, MODEL_NAME, SERVING_ROOT, pipeline_name

if TYPE_CHECKING:
    from kubeflow_pipelines.client.api import KubeflowClient
    from kubeflow_pipelines.client.backfill import DayResult
    from kubeflow_pipelines.client.records import Version
    from kubeflow_pipelines.package import Compiled
    from pipeline.config import RunConfig


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@server_options
@click.option("--from", "first", required=True, metavar="YYYY-MM-DD", help="The first day.")
@click.option("--to", "last", required=True, metavar="YYYY-MM-DD", help="The last day.")
@parameter_options
@click.option("--again", is_flag=True, help="Run days that are done, too.")
@click.option("--fail-fast", is_flag=True, help="Leave the days after one that failed.")
@click.option(
    "--poll-s",
    type=click.FloatRange(0.0, min_open=True),
    default=15.0,
    show_default=True,
    help="Seconds between two questions while a run is under way.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def backfill(
    file: Path | None,
    conf: Path,
    host: str | None,
    namespace: str | None,
    first: str,
    last: str,
    again: bool,
    fail_fast: bool,
    poll_s: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Run every day from --from to --to that is missing, one after the other.

    A day is skipped when a version of it is published or its newest run succeeded; a run
    that is under way is waited for. A day that fails does not stop the later ones. The same
    call again does only what is missing.

    Without FILE, the version that was uploaded last runs.

    Exits with 1 when a day failed.
    """
    from kubeflow_pipelines.client import backfill as loop
    from kubeflow_pipelines.client.dates import days_between
    from kubeflow_pipelines.client.kubeflow_backend import KubeflowBackend
    from kubeflow_pipelines.package import load_compiled

    days = days_between(first, last)
    server, parameters = KubeflowServer(conf, host, namespace), Parameters(**options)
    config = server.config()
    compiled = None if file is None else load_compiled(file)
    if compiled is not None:
        require_days(compiled)
    given = _given(parameters, compiled)
    client = server.connect(config)
    name = pipeline_name(config) if compiled is None else compiled.name
    version = _version(client, name, compiled)
    launch = launch_of(client, config, name, version, given)
    backend = KubeflowBackend(client, launch, _defaults(config, compiled), poll_s, _say)
    results: list[DayResult] = []

    def report(result: DayResult) -> None:
        results.append(result)
        _say(f"{result.day}: {result.outcome}" + (f": {result.note}" if result.note else ""))

    published = registry_of(config, given, compiled)
    _warn_of_older(days, published() or {})
    try:
        loop.backfill(backend, days, published, again=again, fail_fast=fail_fast, report=report)
    finally:  # what was done is told even when the server went away
        _print(name, days, results, as_json)
    raise click.exceptions.Exit(1 if any(result.missing for result in results) else 0)


def _warn_of_older(days: list[dt.date], published: Mapping[dt.date, int]) -> None:
    """Says of which days a training may come to nothing, before it is paid for."""
    newest = max(published, default=None)
    older = [day for day in days if newest is not None and day < newest and day not in published]
    if older:
        _say(
            f"{', '.join(map(str, older))}: {newest} is published already, and an older day is "
            "published only where labels say what is served (tessera promote), or with "
            "pusher.allow_older_span"
        )


def _given(parameters: Parameters, compiled: Compiled | None) -> dict[str, Any]:
    if compiled is not None:
        return parameters.of(compiled)
    if parameters.param:
        raise click.UsageError("--param needs FILE, which says the parameters' types")
    named = {
        DATA_ROOT: parameters.data_root,
        SERVING_ROOT: parameters.serving_root,
        MODEL_NAME: parameters.model_name,
    }
    return {name: value for name, value in named.items() if value is not None}


def _version(client: KubeflowClient, name: str, compiled: Compiled | None) -> Version:
    if compiled is not None:
        return client.upload(compiled)[0]
    pipeline_id = client.find_pipeline(name)
    version = None if pipeline_id is None else client.newest_version(pipeline_id)
    if version is None:
        raise ConfigError(
            f"no version of the pipeline {name} on this server: say which compiled file runs, "
            "tessera backfill FILE"
        )
    return version


def _defaults(config: RunConfig, compiled: Compiled | None) -> dict[str, Any]:
    if compiled is not None:
        return compiled.defaults()
    return {
        DATA_ROOT: config.data.root,
        SERVING_ROOT: config.serving_dir,
        MODEL_NAME: config.name,
    }


def _say(text: str) -> None:
    click.echo(text, err=True)


def _print(name: str, days: list[dt.date], results: list[DayResult], as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "run_date": result.day.isoformat(),
                "outcome": result.outcome,
                "note": result.note,
                "version": result.version,
                "run_id": result.run_id,
                "link": result.link,
                "seconds": round(result.seconds, 1),
            }
            for result in results
        ]
        missing = sorted(
            {day.isoformat() for day in days}
            - {result.day.isoformat() for result in results if not result.missing}
        )
        document = {"pipeline": name, "days": rows, "missing": missing}
        click.echo(json.dumps(document, indent=2))
        return
    from cli.text_table import print_table

    print_table(
        ("run date", "outcome", "version", "seconds", "run", "note"),
        [
            (
                result.day.isoformat(),
                result.outcome,
                "" if result.version is None else str(result.version),
                f"{result.seconds:,.0f}" if result.seconds else "",
                result.run_id,
                result.note,
            )
            for result in results
        ],
    )
