"""A pipeline of three small tasks and an exit handler, in the form of a compiled file."""

import os
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("toy_task.py")
TYPE = {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}
RETRY = {
    "maxRetryCount": 2,
    "backoffDuration": "2s",
    "backoffFactor": 3,
    "backoffMaxDuration": "3600s",
}


def _component(name, artifacts=(), outputs=("made",), parameters=()):
    declared = {key: {"parameterType": "STRING"} for key in parameters}
    return {
        "executorLabel": name,
        "inputDefinitions": {
            "parameters": declared,
            "artifacts": {key: {"artifactType": TYPE} for key in artifacts},
        },
        "outputDefinitions": {"artifacts": {key: {"artifactType": TYPE} for key in outputs}},
    }


def _container(name):
    command = [sys.executable, str(SCRIPT), name]
    # Nothing of this process reaches a task but what its container names.
    env = [
        {"name": "TOY_NAME", "value": name},
        {"name": "TOY_STATE", "value": os.environ.get("TOY_STATE", "")},
    ]
    return {"container": {"command": command, "args": ["{{$}}"], "image": "toy:1", "env": env}}


def _read(producer):
    return {"taskOutputArtifact": {"producerTask": producer, "outputArtifactKey": "made"}}


def _task(name, parameters, reads=(), after=()):
    return {
        "componentRef": {"name": name},
        "dependentTasks": list(after),
        "inputs": {
            "parameters": parameters,
            "artifacts": {producer: _read(producer) for producer in reads},
        },
        "retryPolicy": RETRY,
    }


def toy_spec():
    """First (constant) and Second (parameter) feed Last; Report hears how it ended."""
    inner = {
        "Last": _task("Last", {"word": {"runtimeValue": {"constant": "end"}}}, ["First", "Second"]),
        "Second": _task(
            "Second", {"word": {"componentInputParameter": "run_date"}}, after=["First"]
        ),
        "First": _task("First", {"word": {"runtimeValue": {"constant": "start"}}}),
    }
    report = _task("Report", {"final_status": {"taskFinalStatus": {"producerTask": "tfx-dag"}}})
    report |= {
        "dependentTasks": ["tfx-dag"],
        "triggerPolicy": {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
    }
    dag = {
        "componentRef": {"name": "tfx-dag"},
        "inputs": {"parameters": {"run_date": {"componentInputParameter": "run_date"}}},
    }
    names = ("First", "Second", "Last", "Report")
    return {
        "pipelineInfo": {"name": "toy"},
        "defaultPipelineRoot": "minio://bucket/root",
        "schemaVersion": "2.1.0",
        "components": {
            "First": _component("First", parameters=["word"]),
            "Second": _component("Second", parameters=["word"]),
            "Last": _component("Last", ["First", "Second"], parameters=["word"]),
            "Report": _component("Report", outputs=(), parameters=["final_status"]),
            "tfx-dag": {
                "dag": {"tasks": inner},
                "inputDefinitions": {"parameters": {"run_date": {"parameterType": "STRING"}}},
            },
        },
        "deploymentSpec": {"executors": {name: _container(name) for name in names}},
        "root": {
            "dag": {"tasks": {"tfx-dag": dag, "Report": report}},
            "inputDefinitions": {
                "parameters": {
                    "run_date": {"parameterType": "STRING"},
                    "data_root": {"parameterType": "STRING", "defaultValue": "s3://b/tables"},
                }
            },
        },
    }
