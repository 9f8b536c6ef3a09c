"""The part of `tessera run` that runs a compiled pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from kubeflow_pipelines.package import Compiled
from kubeflow_pipelines.replay.backend import NEWEST, backend_of
from kubeflow_pipelines.replay.result import outcome
from kubeflow_pipelines.replay.run import RunFolders, run_compiled

#: Value of `--object-store` that means the one of the environment.
REAL_STORE = "s3"


def compiled_places(
    work_dir: Path,
    pipeline_root: str | None,
    object_store: str | None,
    backend: str = NEWEST,
) -> RunFolders:
    """Returns where a run keeps what it makes.

    Args:
      work_dir: state, logs and, without an object store, artifacts.
      pipeline_root: URI of the artifacts; None: the one that was compiled in.
      object_store: None: a folder of `work_dir`; `s3`: that of the environment; else a folder.
      backend: version of Kubeflow Pipelines whose launcher is imitated.

    Raises:
      ConfigError: the version is not known.
    """
    folder = Path(object_store) if object_store else work_dir / "objects"
    return RunFolders(
        work_dir=work_dir,
        pipeline_root=pipeline_root,
        object_store=None if object_store == REAL_STORE else folder,
        backend=backend_of(backend),
    )


def run_file(
    compiled: Compiled,
    parameters: dict[str, Any],
    folders: RunFolders,
    *,
    use_cache: bool,
    as_json: bool,
) -> int:
    """Runs a compiled file and prints how it ended; returns the exit code.

    Args:
      compiled: what `tessera compile` wrote.
      parameters: of the run.
      folders: see `compiled_places`.
      use_cache: go on with a run that did not succeed.
      as_json: print the run's record on stdout, everything else on stderr.
    """
    run = run_compiled(
        compiled.documents,
        parameters,
        folders,
        resume=use_cache,
        say=lambda text: click.echo(text, err=as_json),
    )
    ended = outcome(run)
    if as_json:
        click.echo(json.dumps(run.model_dump(mode="json"), indent=2))
    elif ended.version is not None:
        click.echo(f"bundle  {ended.bundle}")
    elif ended.succeeded:
        click.echo(f"not pushed: {ended.reason}")
    click.echo(f"logs    {folders.runs_dir / run.run_id / 'logs'}", err=as_json)
    if run.error:
        click.echo(f"tessera: {run.error}", err=True)
    return ended.exit_code
