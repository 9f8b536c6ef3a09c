"""What a task is called with: the `ExecutorInput` that Kubeflow's driver makes.

Artifacts travel only through it: a task sees the URIs and the metadata of its inputs, with an
empty type, as the open-source backend passes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError
from kubeflow_pipelines.replay.backend import LOGS_KEY, Backend
from kubeflow_pipelines.replay.state import RunRecord

_PLACEHOLDER = re.compile(r"\{\{\$[^}]*\}\}")
_WHOLE = "{{$}}"


@dataclass(frozen=True)
class Spot:
    """Where one try of a task keeps what it makes.

    Attributes:
      output_root: URI of its outputs; the same for every try.
      output_file: local path where it describes them.
      attempt: number of the try, from 1.
    """

    output_root: str
    output_file: str
    attempt: int


def executor_input(
    task: Mapping[str, Any],
    component: Mapping[str, Any],
    parameters: Mapping[str, Any],
    run: RunRecord,
    spot: Spot,
    backend: Backend,
) -> dict[str, Any]:
    """Returns the `ExecutorInput` of one task as JSON; what is empty is left out.

    Args:
      task: its `PipelineTaskSpec`.
      component: its `ComponentSpec`.
      parameters: of the task, see `task_parameters`.
      run: holds what the tasks before it left.
      spot: of this try.
      backend: whose driver is imitated.

    Raises:
      ConfigError: something is read that nobody gives.
    """
    artifacts = {
        key: {"artifacts": [_input_artifact(key, source, run)]}
        for key, source in task.get("inputs", {}).get("artifacts", {}).items()
    }
    declared = component.get("outputDefinitions", {}).get("artifacts", {})
    planned = {
        key: backend.output(key, f"{spot.output_root}/{key}", output["artifactType"])
        for key, output in declared.items()
    }
    planned[LOGS_KEY] = backend.logs(spot.output_root, spot.attempt)
    inputs = {"artifacts": artifacts, "parameterValues": dict(parameters)}
    outputs = {key: {"artifacts": [artifact]} for key, artifact in planned.items()}
    return {
        "inputs": {key: value for key, value in inputs.items() if value},
        "outputs": {"artifacts": outputs, "outputFile": spot.output_file},
    }


def task_parameters(
    task: Mapping[str, Any],
    component: Mapping[str, Any],
    parent: Mapping[str, Any],
    run: RunRecord,
    final_status: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the parameters of one task.

    Args:
      task: its `PipelineTaskSpec`.
      component: its `ComponentSpec`.
      parent: parameters of the graph that it belongs to.
      run: holds what the tasks before it left.
      final_status: of the run, for an exit handler.

    Raises:
      ConfigError: something is read that nobody gives.
    """
    values = {
        key: definition["defaultValue"]
        for key, definition in component.get("inputDefinitions", {}).get("parameters", {}).items()
        if "defaultValue" in definition
    }
    for key, source in task.get("inputs", {}).get("parameters", {}).items():
        if "componentInputParameter" in source:
            values[key] = parent[source["componentInputParameter"]]
        elif "constant" in source.get("runtimeValue", {}):
            values[key] = source["runtimeValue"]["constant"]
        elif "taskOutputParameter" in source:
            wanted = source["taskOutputParameter"]
            record = run.tasks[wanted["producerTask"]]
            values[key] = record.parameters[wanted["outputParameterKey"]]
        elif "taskFinalStatus" in source and final_status is not None:
            values[key] = dict(final_status)
        else:
            raise ConfigError(f"parameter {key!r}: the backend cannot read {source}")
    return values


def _input_artifact(key: str, source: Mapping[str, Any], run: RunRecord) -> dict[str, Any]:
    wanted = source.get("taskOutputArtifact")
    if wanted is None:
        raise ConfigError(f"artifact {key!r}: the backend cannot read {dict(source)}")
    artifact = run.tasks[wanted["producerTask"]].artifacts[wanted["outputArtifactKey"]]
    return {
        "name": artifact["name"],
        "uri": artifact["uri"],
        "metadata": artifact["metadata"],
        "type": {"instanceSchema": ""},
    }


def command_line(container: Mapping[str, Any], invocation: Mapping[str, Any]) -> list[str]:
    """Returns command and arguments with the placeholder replaced.

    Raises:
      ConfigError: a placeholder that TFX never compiles.
    """
    text = json.dumps(invocation, sort_keys=True)
    words = [*container.get("command", ()), *container.get("args", ())]
    for word in words:
        for found in _PLACEHOLDER.findall(word):
            if found != _WHOLE:
                raise ConfigError(f"placeholder {found} is not known; only {_WHOLE} is")
    return [word.replace(_WHOLE, text) for word in words]


def output_artifacts(
    invocation: Mapping[str, Any],
    executor_output: Mapping[str, Any],
    first_number: int,
    backend: Backend,
) -> dict[str, dict[str, Any]]:
    """Returns the outputs of a task: as planned, with what the task says of them.

    Args:
      invocation: what it was called with.
      executor_output: the `ExecutorOutput` that it wrote, as JSON.
      first_number: the metadata store counts artifacts, from here on.
      backend: adds metadata of its own.
    """
    written = executor_output.get("artifacts", {})
    found = {}
    planned = invocation["outputs"]["artifacts"]
    for number, (key, entries) in enumerate(planned.items(), start=first_number):
        artifact = entries["artifacts"][0]
        described = (written.get(key, {}).get("artifacts") or [{}])[0]
        uri = described.get("uri") or artifact["uri"]
        metadata = {**described.get("metadata", {}), **backend.metadata(key, uri)}
        found[key] = {
            "name": str(number),
            "uri": uri,
            "metadata": {name: _stored(value) for name, value in metadata.items()},
        }
    return found


def _stored(value: Any) -> Any:
    """Returns a value as the metadata store gives it back: whole numbers have no point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
