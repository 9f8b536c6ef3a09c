"""The entry point takes what Kubeflow Pipelines really passes: every task, both versions."""

import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pipeline_pb2
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as utils

from kubeflow_pipelines.task import entrypoint
from kubeflow_pipelines.task.invocation import prepare
from tests.kubeflow_pipelines.recordings import TASKS, VERSIONS, recording

LOGS = "executor-logs"


def specs_of(recorded):
    """Input and output definitions as they were compiled: without what the driver adds."""
    component = recorded["component_spec"]
    outputs = json.loads(json.dumps(component.get("outputDefinitions", {})))
    outputs.get("artifacts", {}).pop(LOGS, None)
    return component.get("inputDefinitions", {}), outputs


def prepared(recorded, root):
    inputs, outputs = specs_of(recorded)
    call = json.dumps(recorded["executor_input"])
    return prepare(call, json.dumps(inputs), json.dumps(outputs), str(root))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("task", TASKS)
def test_tfx_can_read_every_recorded_call(version, task, tmp_path):
    recorded = recording(version, task)
    inputs, outputs = specs_of(recorded)
    invocation = prepared(recorded, tmp_path)
    message = invocation.executor_input
    found = utils.parse_raw_artifact_dict(message.inputs.artifacts)
    assert found.keys() == inputs.get("artifacts", {}).keys()
    given = recorded["executor_input"]
    for key, (artifact,) in found.items():
        title = inputs["artifacts"][key]["artifactType"]["instanceSchema"].split()[1]
        assert artifact.TYPE_NAME in title
        kept = given["inputs"]["artifacts"][key]["artifacts"][0]
        for name, value in kept["metadata"].items():
            if isinstance(value, str) and not value.startswith("minio://"):
                assert artifact.get_string_custom_property(name) in (value, ""), name
    made = utils.parse_raw_artifact_dict(message.outputs.artifacts)
    assert made.keys() == outputs.get("artifacts", {}).keys() == invocation.outputs.keys()
    declared = json_format.ParseDict(inputs, pipeline_pb2.ComponentInputsSpec())
    parameters = utils.parse_execution_properties(
        message.inputs.parameter_values, declared.parameters, declared
    )
    assert parameters.keys() == given["inputs"].get("parameterValues", {}).keys()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("task", TASKS)
def test_only_declared_outputs_are_cleared_kept_and_described(version, task, tmp_path):
    """The log is a file that the launcher has open: it must be there, the same file, afterwards."""
    recorded = recording(version, task)
    uri = recorded["executor_input"]["outputs"]["artifacts"][LOGS]["artifacts"][0]["uri"]
    log = tmp_path / uri.replace("://", "/")
    log.parent.mkdir(parents=True)
    with log.open("w") as stream:
        invocation = prepared(recorded, tmp_path)
        output_file = tmp_path / Path(invocation.output_file).relative_to("/")
        entrypoint._clear(str(output_file), invocation.outputs.values())
        for place in invocation.outputs.values():
            assert Path(place).is_dir()
            entrypoint._keep(Path(place))
        stream.write("the task's words")
    assert log.read_text() == "the task's words"
    assert LOGS not in invocation.outputs
    assert uri not in invocation.uris.values()
