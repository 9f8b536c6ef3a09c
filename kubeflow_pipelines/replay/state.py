"""What is known of a run, kept in a file so that a killed run goes on where it was."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from core.digest import json_digest
from core.files import read_json, write_json

STATE_FILE = "state.json"
RunState = Literal["RUNNING", "SUCCEEDED", "FAILED"]


class TaskRecord(BaseModel):
    """One task that is done.

    Attributes:
      attempts: how often it was started.
      seconds: of the attempt that succeeded, copies included.
      artifacts: output key -> `RuntimeArtifact` as JSON.
      parameters: output key -> value.
    """

    attempts: int
    seconds: float
    artifacts: dict[str, dict[str, Any]] = {}
    parameters: dict[str, Any] = {}


class RunRecord(BaseModel):
    """One run.

    Attributes:
      run_id: sortable id, also the name of its folder.
      digest: of the specification.
      parameters: complete.
      place: where its artifacts are.
      state: RUNNING also when the process was killed.
      tasks: those that are done.
      error: why it failed.
    """

    run_id: str
    digest: str
    parameters: dict[str, Any]
    place: str
    state: RunState = "RUNNING"
    tasks: dict[str, TaskRecord] = {}
    error: str = ""

    @property
    def uuid(self) -> str:
        """The run's id as the backend has it, the same whenever the run goes on."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, self.run_id))


def spec_digest(spec: Mapping[str, Any]) -> str:
    """Returns a digest of a pipeline specification."""
    return json_digest(spec)


def new_run(digest: str, parameters: Mapping[str, Any], place: str) -> RunRecord:
    """Returns a run of which nothing is done yet."""
    run_id = f"{dt.datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
    return RunRecord(run_id=run_id, digest=digest, parameters=dict(parameters), place=place)


def unfinished_run(
    runs_dir: Path, digest: str, parameters: Mapping[str, Any], place: str
) -> RunRecord | None:
    """Returns the newest run of this file, these parameters and this place, if it is not done."""
    for record in read_runs(runs_dir):
        same = record.digest == digest and record.place == place
        if same and record.parameters == parameters:
            return None if record.state == "SUCCEEDED" else record
    return None


def read_runs(runs_dir: Path) -> Iterator[RunRecord]:
    """Yields the runs of a folder, newest first; a file that cannot be read is left out."""
    for path in sorted(runs_dir.glob(f"*/{STATE_FILE}"), reverse=True):
        try:
            yield RunRecord.model_validate(read_json(path))
        except (OSError, ValueError, ValidationError):
            continue


def write_run(runs_dir: Path, record: RunRecord) -> None:
    """Writes a run's state in one step."""
    write_json(runs_dir / record.run_id / STATE_FILE, record.model_dump(mode="json"))
