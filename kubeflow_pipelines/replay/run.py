"""Runs a compiled pipeline: its tasks in order, then its exit handler."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigError
from core.lock import make_folder, run_lock
from kubeflow_pipelines.compile.graph import task_order
from kubeflow_pipelines.compile.lint import lint
from kubeflow_pipelines.package import complete
from kubeflow_pipelines.replay.artifacts import ArtifactStore
from kubeflow_pipelines.replay.backend import BACKENDS, NEWEST, Backend
from kubeflow_pipelines.replay.executor_input import Spot, executor_input, task_parameters
from kubeflow_pipelines.replay.launcher import Launcher, TaskCall, TaskError
from kubeflow_pipelines.replay.platform import NO_SECRETS, Secrets, secrets_of
from kubeflow_pipelines.replay.state import (
    RunRecord,
    new_run,
    spec_digest,
    unfinished_run,
    write_run,
)

Spec = Mapping[str, Any]
#: Where an installation keeps artifacts that is told nothing else.
DEFAULT_ROOT = "minio://mlpipeline/v2/artifacts"


@dataclass(frozen=True)
class RunFolders:
    """Where a run keeps what it makes.

    Attributes:
      work_dir: gets `runs/<run_id>/` with state, logs and, while tasks run, their pods.
      pipeline_root: URI of the artifacts; None: the one that was compiled in.
      object_store: None: the one of the environment; else a folder that stands for it.
      backend: whose driver and launcher are imitated.
    """

    work_dir: Path
    pipeline_root: str | None = None
    object_store: Path | None = None
    backend: Backend = BACKENDS[NEWEST]

    @property
    def runs_dir(self) -> Path:
        """Folder of the runs."""
        return self.work_dir / "runs"


def run_compiled(
    documents: list[dict[str, Any]],
    parameters: Mapping[str, Any],
    folders: RunFolders,
    *,
    resume: bool = True,
    say: Callable[[str], None] = lambda text: None,
    sleep: Callable[[float], None] = time.sleep,
) -> RunRecord:
    """Runs a compiled pipeline on this machine.

    A run of the same file and parameters that did not succeed goes on where it was: tasks
    that are done are not run again, as when Kubeflow retries a run.

    Args:
      documents: of the compiled file.
      parameters: those that the run is given.
      folders: where everything goes.
      resume: False starts anew.
      say: told what happens, line by line.
      sleep: waits between attempts.

    Returns:
      The run; a task that failed is in it, not raised.

    Raises:
      ConfigError: the file breaks a rule of the backend, or a parameter is wrong.
      TesseraError: another run works in the folder.
    """
    problems = lint(documents)
    if problems:
        raise ConfigError("the backend would refuse this file:\n  " + "\n  ".join(problems))
    secrets = secrets_of(documents)
    for text in secrets.missing():
        say(text)
    return run_spec(
        documents[0], parameters, folders, secrets=secrets, resume=resume, say=say, sleep=sleep
    )


def run_spec(
    spec: Spec,
    parameters: Mapping[str, Any],
    folders: RunFolders,
    *,
    secrets: Secrets = NO_SECRETS,
    resume: bool = True,
    say: Callable[[str], None] = lambda text: None,
    sleep: Callable[[float], None] = time.sleep,
) -> RunRecord:
    """Runs a pipeline specification as it is; see `run_compiled`, which checks it first."""
    values = complete(spec, parameters)
    make_folder(folders.runs_dir, folders.work_dir)
    with run_lock(folders.work_dir):
        digest = spec_digest(spec)
        storage = f"{folders.object_store or 'environment'} {folders.pipeline_root or ''}".rstrip()
        found = unfinished_run(folders.runs_dir, digest, values, storage) if resume else None
        run = found or new_run(digest, values, storage)
        run = run.model_copy(update={"state": "RUNNING", "error": ""})
        say(_heading(spec, run, found is not None))
        return _Runner(spec, run, folders, secrets, say, sleep).run()


def _heading(spec: Spec, run: RunRecord, resumed: bool) -> str:
    name = spec["pipelineInfo"]["name"]
    if not resumed:
        return f"{name} run {run.run_id}"
    return f"{name} run {run.run_id} goes on: {len(run.tasks)} tasks are done"


class _Runner:
    def __init__(
        self,
        spec: Spec,
        run: RunRecord,
        folders: RunFolders,
        secrets: Secrets,
        say: Callable[[str], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._spec = spec
        self._record = run
        self._folders = folders
        self._secrets = secrets
        self._say = say
        root = folders.pipeline_root or spec.get("defaultPipelineRoot") or DEFAULT_ROOT
        self._root = f"{root.rstrip('/')}/{spec['pipelineInfo']['name']}/{run.uuid}"
        store = ArtifactStore(folders.object_store)
        folder = folders.runs_dir / run.run_id
        self._launcher = Launcher(folder, store, folders.backend, say, sleep)

    def run(self) -> RunRecord:
        """Runs the graph at the top: what is an exit handler runs whatever happened."""
        write_run(self._folders.runs_dir, self._record)
        tasks = self._spec["root"]["dag"]["tasks"]
        handlers = {name for name, task in tasks.items() if _is_exit_handler(task)}
        error, unknown = "", None
        try:
            self._graph(self._spec["root"], self._record.parameters, without=handlers)
        except TaskError as failed:
            error = str(failed)
        except Exception as other:
            error, unknown = f"{type(other).__name__}: {other}", other
        for name in sorted(handlers):
            error = self._exit_handler(name, tasks[name], error)
        state = "FAILED" if error else "SUCCEEDED"
        self._update(state=state, error=error)
        if unknown is not None:
            raise unknown
        return self._record

    def _graph(self, graph: Spec, parameters: Mapping[str, Any], without: set[str]) -> None:
        tasks = {n: t for n, t in graph["dag"]["tasks"].items() if n not in without}
        for name in task_order(tasks)[0]:
            task = tasks[name]
            component = self._spec["components"][task["componentRef"]["name"]]
            if "dag" in component:
                inner = task_parameters(task, component, parameters, self._record)
                self._graph(component, inner, without=set())
            elif name in self._record.tasks:
                self._say(f"{name:<20} done before")
            else:
                self._task(name, task, component, parameters, None)

    def _exit_handler(self, name: str, task: Spec, error: str) -> str:
        """Runs the exit handler; returns what the run failed with, its own failure included."""
        component = self._spec["components"][task["componentRef"]["name"]]
        status: dict[str, Any] = {
            "state": "FAILED" if error else "COMPLETE",
            # The name of Argo's workflow: that of the pipeline and five characters.
            "pipelineJobResourceName": (
                f"{self._spec['pipelineInfo']['name']}-{self._record.uuid[-5:]}"
            ),
            "pipelineTaskName": task["dependentTasks"][0],
            # The backend leaves it empty.
            "error": {},
        }
        try:
            self._task(name, task, component, self._record.parameters, status)
        except TaskError as failed:
            return error or str(failed)
        return error

    def _task(
        self,
        name: str,
        task: Spec,
        component: Spec,
        parameters: Mapping[str, Any],
        status: Mapping[str, Any] | None,
    ) -> None:
        label = component["executorLabel"]
        executor = self._spec["deploymentSpec"]["executors"][label]
        values = task_parameters(task, component, parameters, self._record, status)

        def plan(spot: Spot) -> dict[str, Any]:
            backend = self._folders.backend
            return executor_input(task, component, values, self._record, spot, backend)

        call = TaskCall(
            name=name,
            container=executor["container"],
            retry=task.get("retryPolicy", {}),
            secrets=self._secrets.variables_of(label),
            output_root=f"{self._root}/{name}/{uuid.uuid4()}",
            first_number=1 + sum(len(done.artifacts) for done in self._record.tasks.values()),
            plan=plan,
        )
        record = self._launcher.run(call)
        if status is None:
            self._update(tasks={**self._record.tasks, name: record})
        tries = f", {record.attempts} tries" if record.attempts > 1 else ""
        self._say(f"{name:<20} done in {record.seconds:.1f} s{tries}")

    def _update(self, **changes: Any) -> None:
        self._record = self._record.model_copy(update=changes)
        write_run(self._folders.runs_dir, self._record)


def _is_exit_handler(task: Spec) -> bool:
    strategy = task.get("triggerPolicy", {}).get("strategy")
    return bool(strategy == "ALL_UPSTREAM_TASKS_COMPLETED")
