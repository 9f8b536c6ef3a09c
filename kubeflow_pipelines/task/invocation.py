"""What a task is called with, in the form that TFX's entry point can read, and back.

The input is a `ml_pipelines.ExecutorInput` as the open-source backend writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format, struct_pb2
from kfp.pipeline_spec import pipeline_spec_pb2 as pipeline_pb2

from kubeflow_pipelines.task.uris import local_path, replace_prefix

ExecutorInput = Any
#: How the names of Kubeflow's own artifact types begin.
SYSTEM_TYPE = "system."


@dataclass(frozen=True)
class Invocation:
    """A task that can be run.

    Attributes:
      executor_input: with complete types, local paths and parameters that TFX can read; of the
        outputs, those that a TFX component makes.
      output_file: where the results are described.
      outputs: output key -> local folder, or URI where it is not copied.
      uris: local folder -> URI, of everything that is copied.
      shown: output key -> URI, of what the entry point makes for Kubeflow's pages.
    """

    executor_input: ExecutorInput
    output_file: str
    outputs: dict[str, str]
    uris: dict[str, str]
    shown: dict[str, str]


def prepare(
    invocation: str, inputs_spec: str, outputs_spec: str, root: str, remote: bool = False
) -> Invocation:
    """Reads what a task was called with and mends it.

    Args:
      invocation: `ExecutorInput` as JSON.
      inputs_spec: `ComponentInputsSpec` of the task as JSON.
      outputs_spec: `ComponentOutputsSpec` of the task as JSON.
      root: folder that holds the launcher's folders.
      remote: leave artifacts where they are, for workers on other machines.
    """
    message = pipeline_pb2.ExecutorInput()
    json_format.Parse(invocation, message, ignore_unknown_fields=True)
    inputs = json_format.Parse(inputs_spec or "{}", pipeline_pb2.ComponentInputsSpec())
    outputs = json_format.Parse(outputs_spec or "{}", pipeline_pb2.ComponentOutputsSpec())
    complete_types(message.inputs.artifacts, inputs.artifacts)
    shown = take_foreign_outputs(message.outputs.artifacts, outputs.artifacts)
    complete_types(message.outputs.artifacts, outputs.artifacts)
    text_parameters(message)
    uris: dict[str, str] = {}
    for part in (message.inputs.artifacts, message.outputs.artifacts):
        for entries in part.values():
            for artifact in entries.artifacts:
                _localize(artifact, root, uris, remote)
    return Invocation(
        executor_input=message,
        output_file=message.outputs.output_file,
        outputs={
            key: entries.artifacts[0].uri for key, entries in message.outputs.artifacts.items()
        },
        uris=uris,
        shown=shown,
    )


def take_foreign_outputs(artifacts: Any, declared: Mapping[str, Any]) -> dict[str, str]:
    """Removes the outputs that TFX knows nothing of; returns those that the pipeline declares.

    The backend adds outputs of its own: `executor-logs` is a file that its launcher has open
    before the command starts. They are its own business and stay as they are. Outputs of a
    system type are for its pages; the entry point makes them (`task.shown`).

    Args:
      artifacts: output key -> `ArtifactList`; is changed.
      declared: output key -> `ComponentOutputsSpec.ArtifactSpec`.

    Returns:
      Output key -> URI.
    """
    shown = {}
    for key in list(artifacts):
        if key not in declared:
            del artifacts[key]
        elif declared[key].artifact_type.schema_title.startswith(SYSTEM_TYPE):
            shown[key] = artifacts[key].artifacts[0].uri
            del artifacts[key]
    return shown


def complete_types(artifacts: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    """Puts the declared type on every artifact.

    The backend passes input artifacts without any type, may pass an empty instance schema,
    and collapses types of its own making to `system.Model`, `system.Dataset` and the like:
    TFX then finds no class to read the artifact with. The declaration in the compiled
    pipeline is always right.
    """
    for key, entries in artifacts.items():
        if key not in declared:
            continue
        for artifact in entries.artifacts:
            artifact.type.CopyFrom(declared[key].artifact_type)


def text_parameters(message: ExecutorInput) -> None:
    """Turns structures among the parameters into JSON.

    The backend passes an exit handler its run's status as a structure, which TFX hands on as
    a protocol message.
    """
    values = message.inputs.parameter_values
    for key in list(values):
        if values[key].WhichOneof("kind") in ("struct_value", "list_value"):
            text = json.dumps(json_format.MessageToDict(values[key]), sort_keys=True)
            values[key].CopyFrom(struct_pb2.Value(string_value=text))


def _localize(artifact: Any, root: str, uris: dict[str, str], remote: bool) -> None:
    path = None if remote else local_path(artifact.uri, root)
    if path is None:
        return
    uris[path] = artifact.uri
    moved = {artifact.uri: path}
    for key, value in artifact.metadata.fields.items():
        if value.WhichOneof("kind") == "string_value":
            artifact.metadata.fields[key].string_value = replace_prefix(value.string_value, moved)
    artifact.uri = path


def restored(
    executor_output: str, uris: Mapping[str, str], shown: Mapping[str, Any] | None = None
) -> str:
    """Returns what a task wrote about its outputs, as the backend's launcher can read it.

    Local folders become URIs again, also inside texts. Values that are null go: the launcher
    fails on them.

    Args:
      executor_output: `ExecutorOutput` as JSON.
      uris: local folder -> URI.
      shown: output key -> `ArtifactList` as JSON, of what is made beside TFX.
    """
    tree = json.loads(executor_output or "{}")
    if shown:
        tree.setdefault("artifacts", {}).update(shown)
    for entries in tree.get("artifacts", {}).values():
        for artifact in entries.get("artifacts", []):
            artifact["uri"] = replace_prefix(artifact.get("uri", ""), uris)
            artifact["metadata"] = {
                key: replace_prefix(value, uris) if isinstance(value, str) else value
                for key, value in artifact.get("metadata", {}).items()
                if value is not None
            }
    return json.dumps(tree, indent=1, sort_keys=True)
