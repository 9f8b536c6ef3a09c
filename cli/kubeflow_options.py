"""Options and steps that the commands for Kubeflow Pipelines share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.errors import ConfigError
from kubeflow_pipelines.parameters import DATA_ROOT, MODEL_NAME, RUN_DATE, SERVING_ROOT
from pipeline.config import RunConfig, load_config

if TYPE_CHECKING:
    from kubeflow_pipelines.client.api import KubeflowClient
    from kubeflow_pipelines.client.records import Launch, Version
    from kubeflow_pipelines.package import Compiled

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class KubeflowServer:
    """Which server, as the caller says it."""

    conf: Path
    host: str | None = None
    namespace: str | None = None

    def config(self) -> RunConfig:
        """Returns the configuration."""
        return load_config(self.conf)

    def address(self, config: RunConfig) -> str:
        """Returns the address of the API, from the caller, the configuration or KFP_HOST."""
        from kubeflow_pipelines.client.connection import find_host

        return find_host(self.host, config.kubeflow.host)

    def connect(self, config: RunConfig) -> KubeflowClient:
        """Returns a client of the server, which has answered once."""
        from kubeflow_pipelines.client.api import KubeflowClient
        from kubeflow_pipelines.client.connection import connect

        namespace = self.namespace or config.kubeflow.namespace
        return KubeflowClient(connect(self.address(config), namespace, config.kubeflow))


@dataclass(frozen=True)
class Parameters:
    """What the caller gives the runs, beside their day."""

    data_root: str | None = None
    serving_root: str | None = None
    model_name: str | None = None
    param: tuple[str, ...] = ()

    def of(self, compiled: Compiled) -> dict[str, Any]:
        """Returns them with the types that a compiled file declares."""
        named = {
            DATA_ROOT: self.data_root,
            SERVING_ROOT: self.serving_root,
            MODEL_NAME: self.model_name,
        }
        return compiled.parameters(named, self.param)


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of a `KubeflowServer`."""
    for option in (
        click.option("--namespace", help="Of the runs, for a server with many users."),
        click.option(
            "--host",
            metavar="URL",
            help="Address of the Kubeflow Pipelines API [default: kubeflow.host, else KFP_HOST].",
        ),
        click.option("--conf", type=_PATH, required=True, help="YAML configuration."),
    ):
        command = option(command)
    return command


def parameter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of `Parameters`."""
    for option in (
        click.option(
            "--param",
            multiple=True,
            metavar="NAME=VALUE",
            help="Any other parameter of the compiled file; may be given again.",
        ),
        click.option("--model-name", help="Name of the model that is pushed."),
        click.option("--serving-root", metavar="DIR", help="Where versions are published."),
        click.option("--data-root", metavar="DIR", help="Where the tables are."),
    ):
        command = option(command)
    return command


def experiment_name(config: RunConfig, pipeline: str) -> str:
    """Returns the experiment that the runs of a pipeline belong to."""
    return config.kubeflow.experiment or pipeline


def launch_of(
    client: KubeflowClient,
    config: RunConfig,
    pipeline: str,
    version: Version,
    parameters: dict[str, Any],
) -> Launch:
    """Returns all that runs of a version need but their day.

    Raises:
      ConfigError: the server is too old.
    """
    from kubeflow_pipelines.client.backend import require_backend
    from kubeflow_pipelines.client.records import Launch

    require_backend(client.connection.host, client.connection.version)
    return Launch(
        name=pipeline,
        version=version,
        experiment_id=client.experiment(experiment_name(config, pipeline)),
        parameters=parameters,
        pipeline_root=config.kubeflow.pipeline_root,
        service_account=config.kubeflow.service_account,
    )


def registry_of(
    config: RunConfig, parameters: dict[str, Any], compiled: Compiled | None = None
) -> Callable[[], dict[dt.date, int] | None]:
    """Returns a function that tells which days are published where the runs publish."""
    from kubeflow_pipelines.client.registry import done_dates

    def value(name: str, configured: str) -> str:
        default = compiled.default(name) if compiled is not None else ""
        return str(parameters.get(name) or default or configured)

    root, name = value(SERVING_ROOT, config.serving_dir), value(MODEL_NAME, config.name)
    return lambda: done_dates(root, name)


def require_days(compiled: Compiled) -> None:
    """Refuses tables without days.

    Raises:
      ConfigError: the compiled pipeline reads tables that have none.
    """
    if not compiled.inputs[RUN_DATE].required:
        raise ConfigError(
            f"{compiled.path}: it reads tables without days (data.layout: single), so there are "
            "none to fill; call tessera submit"
        )
