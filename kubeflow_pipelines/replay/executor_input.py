"""What a task is called with: the `ExecutorInput` that Kubeflow's driver makes.

Artifacts travel only through it: a task sees the URIs and the metadata of its inputs,
without their types, as the open-source backend passes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from core.errors import ConfigError
from kubeflow_pipelines.replay.state import RunRecord

_PLACEHOLDER = re.compile(r"\{\{\$[^}]*\}\}")
_WHOLE = "{{$}}"


def executor_input(
    task: Mapping[str, Any],
    component: Mapping[str, Any],
    parent: Mapping[str, Any],
    run: RunRecord,
    output_root: str,
    output_file: str,
    final_status: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the `ExecutorInput` of one task as JSON.

    Args:
      task: its `PipelineTaskSpec`.
      component: its `ComponentSpec`.
      parent: parameters of the graph that it belongs to.
      run: holds what the tasks before it left.
      output_root: URI below which its outputs go.
      output_file: local path where it describes them.
      final_status: of the run, for an exit handler.

    Raises:
      ConfigError: something is read that nobody gives.
    """
    inputs = task.get("inputs", {})
    artifacts = {
        key: {"artifacts": [_input_artifact(key, source, run)]}
        for key, source in inputs.get("artifacts", {}).items()
    }
    declared = component.get("outputDefinitions", {}).get("artifacts", {})
    outputs = {
        key: {
            "artifacts": [
                {"name": key, "uri": f"{output_root}/{key}", "type": output["artifactType"]}
            ]
        }
        for key, output in declared.items()
    }
    return {
        "inputs": {
            "parameterValues": task_parameters(task, component, parent, run, final_status),
            "artifacts": artifacts,
        },
        "outputs": {"artifacts": outputs, "outputFile": output_file},
    }


def task_parameters(
    task: Mapping[str, Any],
    component: Mapping[str, Any],
    parent: Mapping[str, Any],
    run: RunRecord,
    final_status: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the parameters of one task; see `executor_input` for the arguments."""
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
            raise ConfigError(f"parameter {key!r}: the backend can not read {source}")
    return values


def _input_artifact(key: str, source: Mapping[str, Any], run: RunRecord) -> dict[str, Any]:
    wanted = source.get("taskOutputArtifact")
    if wanted is None:
        raise ConfigError(f"artifact {key!r}: the backend can not read {dict(source)}")
    artifact = run.tasks[wanted["producerTask"]].artifacts[wanted["outputArtifactKey"]]
    return {"name": artifact["name"], "uri": artifact["uri"], "metadata": artifact["metadata"]}


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
    invocation: Mapping[str, Any], executor_output: Mapping[str, Any], run_id: str, task: str
) -> dict[str, dict[str, Any]]:
    """Returns the outputs of a task: as planned, with what the task says of them.

    Args:
      invocation: what it was called with.
      executor_output: the `ExecutorOutput` that it wrote, as JSON.
      run_id: part of the artifacts' names.
      task: likewise.
    """
    written = executor_output.get("artifacts", {})
    found = {}
    for key, planned in invocation["outputs"]["artifacts"].items():
        artifact = planned["artifacts"][0]
        described = (written.get(key, {}).get("artifacts") or [{}])[0]
        found[key] = {
            "name": f"{run_id}/{task}/{key}",
            "uri": described.get("uri") or artifact["uri"],
            "metadata": described.get("metadata", {}),
        }
    return found
