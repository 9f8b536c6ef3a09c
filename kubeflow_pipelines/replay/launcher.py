"""Runs one task as Kubeflow's launcher does: inputs in, command, outputs out, and tries again."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigError, TesseraError
from core.secrets import redacted
from kubeflow_pipelines.replay.artifacts import ArtifactStore
from kubeflow_pipelines.replay.backend import LOGS_KEY, Backend
from kubeflow_pipelines.replay.executor_input import Spot, command_line, output_artifacts
from kubeflow_pipelines.replay.state import TaskRecord
from kubeflow_pipelines.task.uris import ROOT_VARIABLE, local_path

_PR_SET_PDEATHSIG = 1
_SHOWN_LINES = 12


class TaskError(TesseraError):
    """A task failed, and every retry of it."""


@dataclass(frozen=True)
class TaskCall:
    """A task that can be started.

    Attributes:
      name: of the task.
      container: its `PipelineContainerSpec`.
      retry: its `RetryPolicy`.
      secrets: environment variables that Kubernetes takes from secrets.
      output_root: URI of its outputs.
      first_number: of the artifacts that it makes.
      plan: from where a try keeps its outputs to the `ExecutorInput` as JSON.
    """

    name: str
    container: Mapping[str, Any]
    retry: Mapping[str, Any]
    secrets: Collection[str]
    output_root: str
    first_number: int
    plan: Callable[[Spot], dict[str, Any]]


class Launcher:
    """Runs tasks, each attempt in a folder of its own that stands for its pod."""

    def __init__(
        self,
        run_dir: Path,
        store: ArtifactStore,
        backend: Backend,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Names the places.

        Args:
          run_dir: gets `pods/` and `logs/`.
          store: where artifacts are kept.
          backend: whose launcher is imitated.
          say: told about failed attempts.
          sleep: waits between them.
        """
        self._run_dir = run_dir
        self._store = store
        self._backend = backend
        self._say = say
        self._sleep = sleep

    def run(self, call: TaskCall) -> TaskRecord:
        """Runs a task until it succeeds or its retries are used up.

        Raises:
          TaskError: it failed; names its log and its last words.
          ConfigError: the compiled file asks for what this backend does not have.
        """
        pauses = [*retry_pauses(call.retry), None]
        deadline = time.monotonic() + retry_window(call.retry)
        for attempt, pause in enumerate(pauses, start=1):
            started = time.monotonic()
            try:
                record = self._attempt(call, attempt)
                seconds = round(time.monotonic() - started, 3)
                return record.model_copy(update={"attempts": attempt, "seconds": seconds})
            except ConfigError:  # of the file itself: no attempt can mend it
                raise
            except TesseraError as error:
                if pause is None or time.monotonic() + pause > deadline:
                    known = isinstance(error, TaskError)
                    raise error if known else TaskError(f"{call.name}: {error}") from error
                self._say(f"{error}; try {attempt + 1} of {len(pauses)} in {pause:g} s")
                self._sleep(pause)
        raise TaskError(f"{call.name}: never started")

    def _attempt(self, call: TaskCall, attempt: int) -> TaskRecord:
        pod = (self._run_dir / "pods" / f"{call.name}-{attempt}").resolve()
        shutil.rmtree(pod, ignore_errors=True)
        pod.mkdir(parents=True)
        log = self._run_dir / "logs" / f"{call.name}-{attempt}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        log.touch()
        output_file = self._backend.output_file(str(pod), str(_local(call.output_root, pod)))
        invocation = call.plan(Spot(call.output_root, output_file, attempt))
        try:
            for artifact in _artifacts(invocation["inputs"]):
                self._store.download(artifact["uri"], _local(artifact["uri"], pod))
            _prepare(invocation["outputs"], pod, log)
            self._start(call, command_line(call.container, invocation), pod, log)
            return self._collect(call, invocation, Path(output_file), pod)
        finally:
            shutil.rmtree(pod, ignore_errors=True)

    def _start(self, call: TaskCall, command: list[str], pod: Path, log: Path) -> None:
        with open(log, "ab") as stream:
            child = subprocess.Popen(
                command,
                cwd=pod,
                env=_environment(call, pod),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
            try:
                code = child.wait()
            finally:  # what a task has started ends with it, as a pod's processes do
                _kill(child)
        if code:
            ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise TaskError(f"{call.name}: {ended}; log {log}\n{_last_words(log)}")

    def _collect(
        self,
        call: TaskCall,
        invocation: Mapping[str, Any],
        output_file: Path,
        pod: Path,
    ) -> TaskRecord:
        """Uploads what the task left, then hands its description on."""
        try:
            written = json.loads(output_file.read_text()) if output_file.exists() else {}
        except ValueError as error:
            raise TaskError(f"{call.name}: {output_file.name} is not JSON: {error}") from error
        artifacts = output_artifacts(invocation, written, call.first_number, self._backend)
        for artifact in artifacts.values():
            self._store.upload(_local(artifact["uri"], pod), artifact["uri"])
        return TaskRecord(
            attempts=0,
            seconds=0.0,
            artifacts=artifacts,
            parameters=written.get("parameterValues", {}),
        )


def retry_pauses(policy: Mapping[str, Any]) -> list[float]:
    """Returns the pauses, in seconds, before each retry of a `RetryPolicy` as JSON."""
    pause = _seconds(policy.get("backoffDuration", "0s"))
    factor = int(policy.get("backoffFactor", 1)) or 1
    retries = int(policy.get("maxRetryCount", 0))
    return [pause * factor**number for number in range(retries)]


def retry_window(policy: Mapping[str, Any]) -> float:
    """Returns the seconds from the start of the first try after which Argo starts no other."""
    return _seconds(policy.get("backoffMaxDuration", "0s"))


def _seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def _artifacts(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [a for entries in part.get("artifacts", {}).values() for a in entries["artifacts"]]


def _prepare(outputs: Mapping[str, Any], pod: Path, log: Path) -> None:
    """Makes what the launcher makes before the command starts.

    That is the folders that its outputs go into, not the outputs, and the log: one file, which
    grows while the command runs (`prepareOutputFolders`, `getLogWriter` of `launcher_v2.go`).
    """
    Path(outputs["outputFile"]).parent.mkdir(parents=True, exist_ok=True)
    for artifact in _artifacts(outputs):
        _local(artifact["uri"], pod).parent.mkdir(parents=True, exist_ok=True)
    for artifact in outputs["artifacts"][LOGS_KEY]["artifacts"]:
        os.link(log, _local(artifact["uri"], pod))


def _local(uri: str, pod: Path) -> Path:
    path = local_path(uri, str(pod))
    if path is None:
        raise TaskError(f"{uri}: the launcher knows minio://, s3:// and gs:// alone")
    return Path(path)


def _environment(call: TaskCall, pod: Path) -> dict[str, str]:
    """Returns the environment of a container: nothing of this process but what a pod has.

    This process's Python comes first on the path. What the task takes from secrets is taken from
    the variables of the same names.
    """
    given = {entry["name"]: entry["value"] for entry in call.container.get("env", ())}
    secrets = {name: os.environ[name] for name in call.secrets if name in os.environ}
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", "")))
    return {**secrets, **given, "PATH": path, "HOME": str(pod), ROOT_VARIABLE: str(pod)}


def _die_with_parent() -> None:
    """No task outlives the process that would collect what it makes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return redacted("\n".join(lines[-_SHOWN_LINES:]))
