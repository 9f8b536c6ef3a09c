"""`tessera submit`: one run on Kubeflow Pipelines."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.kubeflow_options import (
    KubeflowServer,
    Parameters,
    launch_of,
    parameter_options,
    server_options,
)
from core.errors import ConfigError
from kubeflow_pipelines.parameters import RUN_DATE

if TYPE_CHECKING:
    from kubeflow_pipelines.client.records import Run
    from kubeflow_pipelines.package import Compiled


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@server_options
@click.option(
    "--run-date",
    metavar="YYYY-MM-DD[-Nd]",
    help="Last day of the data, or N days before that day; required for tables with days.",
)
@parameter_options
@click.option(
    "--once",
    is_flag=True,
    help="Start no run when one of that day is under way or has succeeded.",
)
@click.option("--wait", is_flag=True, help="Wait for the end; exit with 1 when the run fails.")
@click.option(
    "--poll-s",
    type=click.FloatRange(0.0, min_open=True),
    default=15.0,
    show_default=True,
    help="Seconds between two questions while waiting.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def submit(
    file: Path,
    conf: Path,
    host: str | None,
    namespace: str | None,
    run_date: str | None,
    once: bool,
    wait: bool,
    poll_s: float,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Start a run of the compiled pipeline FILE on Kubeflow Pipelines.

    Uploads FILE as a new version of its pipeline, unless that content is there already, and
    starts the run PIPELINE-DAY. With --once the same call again on the same day is the same
    run. A token, where the server wants one, is read from the environment variable KFP_TOKEN
    or from the file in KF_PIPELINES_SA_TOKEN_PATH.

    Exits with 1 when the server is away or, with --wait, when the run fails; with 2 when the
    server refuses what it is asked.
    """
    from kubeflow_pipelines.client.records import RunState
    from kubeflow_pipelines.package import load_compiled

    server = KubeflowServer(conf, host, namespace)
    config = server.config()
    compiled = load_compiled(file)
    day = _day(compiled, run_date)
    given = Parameters(**parameters).of(compiled)
    client = server.connect(config)
    version, new = client.upload(compiled)
    launch = launch_of(client, config, compiled.name, version, given)
    there = client.run_of(launch, day, compiled.defaults()) if once else None
    if there is not None and there.state is RunState.FAILED:
        there = None
    run = there or client.create_run(launch, day)
    if not as_json:
        click.echo(f"version {version.name} of {compiled.name} {'uploaded' if new else 'is there'}")
        known = ", is there" if there is not None else ""
        click.echo(f"run     {run.run_id} ({launch.run_name(day)}{known})\nlink    {run.link}")
    if wait:
        run = client.wait_for(run.run_id, poll_s)
    if as_json:
        document = _document(compiled, run, day, version.name, new)
        click.echo(json.dumps({**document, "started": there is None}, indent=2))
    elif wait:
        click.echo(f"state   {run.shown_state}")
    if run.state is RunState.FAILED:
        click.echo(f"tessera: the run failed: {run.reason or run.link}", err=True)
        raise click.exceptions.Exit(1)


def _day(compiled: Compiled, run_date: str | None) -> dt.date | None:
    from kubeflow_pipelines.client.dates import parse_day

    if run_date:
        return parse_day(run_date, "--run-date")
    if compiled.inputs[RUN_DATE].required:
        raise ConfigError(
            f"--run-date is missing: say which day's data {compiled.path} reads, for example "
            "--run-date 2024-06-30; there is no 'latest', so that a run can be repeated"
        )
    return None


def _document(
    compiled: Compiled, run: Run, day: dt.date | None, version: str, new: bool
) -> dict[str, Any]:
    return {
        "pipeline": compiled.name,
        "version": version,
        "uploaded": new,
        "run_id": run.run_id,
        "run_date": None if day is None else day.isoformat(),
        "state": run.shown_state,
        "reason": run.reason,
        "link": run.link,
    }
