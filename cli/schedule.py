"""`tessera schedule`: a run every day."""

from __future__ import annotations

import json
from dataclasses import replace
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
from kubeflow_pipelines.parameters import RUN_DATE, pipeline_name

if TYPE_CHECKING:
    from kubeflow_pipelines.client.api import KubeflowClient
    from kubeflow_pipelines.client.cron_job import Submission
    from kubeflow_pipelines.client.records import Recurring
    from kubeflow_pipelines.package import Compiled
    from pipeline.config import RunConfig

_ACTIONS = ("pause", "resume", "delete", "show")


def _actions(command: Any) -> Any:
    helps = {
        "pause": "Start no more runs.",
        "resume": "Start runs again.",
        "delete": "Remove the schedule; its runs stay.",
        "show": "Print the schedule.",
    }
    for name in reversed(_ACTIONS):
        command = click.option(f"--{name}", is_flag=True, help=helps[name])(command)
    return command


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@server_options
@click.option(
    "--cron",
    metavar="EXPRESSION",
    help="Six fields, seconds first, in UTC [default: kubeflow.schedule.cron].",
)
@parameter_options
@_actions
@click.option(
    "--gitops",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Ask no server: write a CronJob, its ConfigMap and a kustomization into DIR.",
)
@click.option(
    "--cron-job",
    "cron_job",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="MANIFEST",
    help="Ask no server: write a CronJob and its ConfigMap into one file, for kubectl apply.",
)
@click.option(
    "--token-secret",
    default="kfp-token",
    show_default=True,
    metavar="NAME",
    help="With --cron-job or --gitops: secret whose key `token` holds the token.",
)
@click.option(
    "--ca-config-map",
    default="",
    metavar="NAME",
    help="With --cron-job or --gitops: config map whose key `ca.crt` has the API's certificates.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def schedule(
    file: Path | None,
    conf: Path,
    host: str | None,
    namespace: str | None,
    cron: str | None,
    gitops: Path | None,
    cron_job: Path | None,
    token_secret: str,
    ca_config_map: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Run the compiled pipeline FILE every day, or pause, resume, delete or show that.

    A pipeline has one schedule: at most one run at a time, no runs for the time it was
    paused. A run gets the day (UTC) on which it is started less kubeflow.schedule.lag_days.
    Called again with another FILE or --cron it replaces the schedule, two never run beside
    each other; a paused one stays paused. Kubeflow Pipelines fills the day in from version
    2.16 on. For an older one, apply what --cron-job writes: a CronJob of Kubernetes that
    calls `tessera submit` with the day before.

    Without FILE, the options --pause, --resume, --delete and --show are about the pipeline
    that the configuration names.
    """
    from kubeflow_pipelines.client.cron import check_cron
    from kubeflow_pipelines.package import load_compiled

    chosen = [name for name in _ACTIONS if options.pop(name)]
    if len(chosen) + (gitops is not None) + (cron_job is not None) > 1:
        raise click.UsageError(
            "choose one of --pause, --resume, --delete, --show, --cron-job and --gitops"
        )
    server = KubeflowServer(conf, host, namespace)
    config = server.config()
    compiled = None if file is None else load_compiled(file)
    if chosen:
        name = pipeline_name(config) if compiled is None else compiled.name
        _act(chosen[0], server.connect(config), name, as_json)
        return
    if compiled is None:
        raise click.UsageError("say which compiled pipeline: tessera schedule FILE")
    expression = check_cron(cron or config.kubeflow.schedule.cron).text
    given = Parameters(**options).of(compiled)
    if gitops is not None or cron_job is not None:
        submission = _submission(server, config, compiled, expression, given)
        submission = replace(submission, token_secret=token_secret, ca_config_map=ca_config_map)
        _write(gitops, cron_job, submission)
        return
    client = server.connect(config)
    _warn_of_macro(client, compiled)
    _apply(client, config, compiled, expression, given, as_json)


def _apply(
    client: KubeflowClient,
    config: RunConfig,
    compiled: Compiled,
    cron: str,
    given: dict[str, Any],
    as_json: bool,
) -> None:
    from kubeflow_pipelines.client.dates import scheduled_run_date
    from kubeflow_pipelines.client.records import Schedule
    from kubeflow_pipelines.client.recurring import apply

    version, _ = client.upload(compiled)
    launch = launch_of(client, config, compiled.name, version, given)
    lag = config.kubeflow.schedule.lag_days
    run_date = scheduled_run_date(lag) if compiled.inputs[RUN_DATE].required else None
    change = apply(client, Schedule(launch, cron, run_date))
    if as_json:
        document = _document(change.recurring, change.enabled)
        click.echo(json.dumps({**document, "change": change.what}, indent=2))
        return
    state = "enabled" if change.enabled else "paused; tessera schedule --resume starts it"
    click.echo(f"schedule {compiled.name} {change.what}: {cron} (UTC), {state}")
    click.echo(f"version  {version.name}")
    if run_date:
        click.echo(f"run_date {run_date}")


def _act(action: str, client: KubeflowClient, name: str, as_json: bool) -> None:
    from kubeflow_pipelines.client import recurring

    if action == "show":
        _show(client, name, as_json)
        return
    if action == "pause":
        done = "paused" if recurring.pause(client, name) else "paused already"
    elif action == "resume":
        done = "enabled" if recurring.resume(client, name) else "enabled already"
    else:
        recurring.delete(client, name)
        done = "deleted"
    click.echo(json.dumps({"name": name, "done": done}) if as_json else f"schedule {name}: {done}")


def _show(client: KubeflowClient, name: str, as_json: bool) -> None:
    from kubeflow_pipelines.client.recurring import interrupted

    found = client.recurring_runs(name)
    if as_json:
        entries = [_document(entry, entry.enabled) for entry in found]
        click.echo(json.dumps({"name": name, "schedules": entries}, indent=2))
    elif not found:
        click.echo(f"schedule {name}: none")
    for entry in () if as_json else found:
        state = "enabled" if entry.enabled else "paused"
        click.echo(f"schedule {name}: {entry.cron} (UTC), {state}, {entry.recurring_id}")
        click.echo(f"  run_date {entry.parameters.get(RUN_DATE, '')}  version {entry.version_id}")
    if interrupted(found):
        click.echo(
            "tessera: the schedule was being replaced when that was interrupted: call tessera "
            "schedule FILE again to finish it",
            err=True,
        )


def _submission(
    server: KubeflowServer, config: RunConfig, compiled: Compiled, cron: str, given: dict[str, Any]
) -> Submission:
    from cli.kubeflow_options import require_days
    from kubeflow_pipelines.client.cron_job import Submission

    require_days(compiled)
    if server.namespace:
        kubeflow = config.kubeflow.model_copy(update={"namespace": server.namespace})
        config = config.model_copy(update={"kubeflow": kubeflow})
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in given.items()}
    return Submission(compiled, config, server.address(config), cron, texts, token_secret="")


def _write(directory: Path | None, file: Path | None, submission: Submission) -> None:
    from kubeflow_pipelines.client.cron_job import write_cron_job, write_manifests

    if file is not None:
        write_cron_job(file, submission)
        click.echo(str(file))
    for path in () if directory is None else write_manifests(directory, submission):
        click.echo(str(path))


def _warn_of_macro(client: KubeflowClient, compiled: Compiled) -> None:
    """Refuses a server that is known not to fill in the day; warns when that is not known."""
    from kubeflow_pipelines.client.backend import fills_in_day

    if not compiled.inputs[RUN_DATE].required:
        return
    version = client.connection.version
    known = fills_in_day(version)
    instead = "apply a CronJob: tessera schedule FILE --conf CONF --cron-job MANIFEST writes it"
    if known is False:
        raise ConfigError(
            f"{client.connection.host} runs Kubeflow Pipelines {version}, which hands a schedule's "
            "day on as it is written (2.16 is the first that fills it in), so every run would "
            f"fail: upgrade it, or {instead}"
        )
    if known is None:
        click.echo(
            "tessera: the server does not tell its version: before 2.16 it would not fill in the "
            f"day, and every run would fail; if it is older, {instead}",
            err=True,
        )


def _document(entry: Recurring, enabled: bool) -> dict[str, Any]:
    return {
        "id": entry.recurring_id,
        "name": entry.name,
        "enabled": enabled,
        "cron": entry.cron,
        "run_date": entry.parameters.get(RUN_DATE),
        "version_id": entry.version_id,
    }
