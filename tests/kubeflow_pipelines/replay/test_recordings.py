"""Our own executor calls tasks as Kubeflow Pipelines' driver and launcher do, key by key."""

import json
import re
import sys
from pathlib import Path

import pytest

from kubeflow_pipelines.replay.backend import BACKENDS
from kubeflow_pipelines.replay.run import RunFolders, run_spec
from tests.kubeflow_pipelines.recordings import TASKS, VERSIONS, recording

SCRIPT = Path(__file__).with_name("recorded_task.py")
LOGS = "executor-logs"
ADDED = ("display_name", "store_session_info")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def pipeline_of(version, answers):
    """The pipeline that was recorded, and what its tasks said of their outputs."""
    recorded = {task: recording(version, task) for task in TASKS}
    said = {task: {} for task in TASKS}
    tasks, components = {}, {}
    for name in TASKS:
        component = json.loads(json.dumps(recorded[name]["component_spec"]))
        component.get("outputDefinitions", {}).get("artifacts", {}).pop(LOGS, None)
        components[name] = component
        call = recorded[name]["executor_input"]["inputs"]
        artifacts = {}
        for key, entries in call.get("artifacts", {}).items():
            artifact = entries["artifacts"][0]
            producer, _, output = artifact["uri"].split("/")[-3:]
            artifacts[key] = {
                "taskOutputArtifact": {"producerTask": producer, "outputArtifactKey": output}
            }
            own = {k: v for k, v in artifact["metadata"].items() if k not in ADDED}
            said[producer][output] = own
        parameters = {
            key: {"taskFinalStatus": {"producerTask": "tfx-dag"}}
            if key == "final_status"
            else {"runtimeValue": {"constant": value}}
            for key, value in call["parameterValues"].items()
        }
        tasks[name] = {
            "componentRef": {"name": name},
            "dependentTasks": sorted(
                {source["taskOutputArtifact"]["producerTask"] for source in artifacts.values()}
            ),
            "inputs": {"artifacts": artifacts, "parameters": parameters},
        }
    for name, metadata in said.items():
        (answers / f"{name}.metadata.json").write_text(json.dumps(metadata))
    report = tasks.pop("StatusReport") | {
        "dependentTasks": ["tfx-dag"],
        "triggerPolicy": {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
    }
    executors = {
        f"{name}_executor": {
            "container": {
                "command": [sys.executable, str(SCRIPT), str(answers), name],
                "args": ["{{$}}"],
                "env": [{"name": "GIVEN", "value": "yes"}],
            }
        }
        for name in TASKS
    }
    return recorded, {
        "pipelineInfo": {"name": "e2e"},
        "defaultPipelineRoot": "minio://mlpipeline/v2/artifacts",
        "deploymentSpec": {"executors": executors},
        "components": {**components, "tfx-dag": {"dag": {"tasks": tasks}}},
        "root": {"dag": {"tasks": {"tfx-dag": {"componentRef": {"name": "tfx-dag"}},
                                   "StatusReport": report}}},
    }  # fmt: skip


def plain(tree, root="/"):
    """Without what differs from run to run: ids, and the folder that stands for the pod."""
    if isinstance(tree, dict):
        return {
            key: "NUMBER"
            if key == "name" and isinstance(value, str) and value.isdigit()
            else plain(value, root)
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [plain(value, root) for value in tree]
    if isinstance(tree, str):
        text = _UUID.sub("UUID", tree)
        text = re.sub(r"^e2e-[0-9a-z]{5}$", "e2e-abcde", text)
        return text.removeprefix(root.rstrip("/")) if root != "/" else text
    return tree


@pytest.mark.parametrize("version", VERSIONS)
def test_every_task_is_called_as_it_was_recorded(version, tmp_path, monkeypatch):
    answers = tmp_path / "answers"
    answers.mkdir()
    recorded, spec = pipeline_of(version, answers)
    monkeypatch.setenv("NOT_OF_THE_IMAGE", "here")
    places = RunFolders(
        tmp_path / "work", object_store=tmp_path / "objects", backend=BACKENDS[version[:4]]
    )
    record = run_spec(spec, {}, places)
    assert (record.state, record.error) == ("SUCCEEDED", "")
    for task in TASKS:
        state = json.loads((answers / f"{task}.call.json").read_text())
        assert plain(state["call"], state["root"]) == plain(recorded[task]["executor_input"]), task
        # The launcher's work before the command: the log is a file, outputs are not there.
        assert state["logs"] == {"is_file": True, "folder": True}
        assert "made_before" not in state or state["made_before"] == []
        environment = state["environment"].keys() - {"LC_CTYPE"}
        assert environment == {"PATH", "HOME", "TESSERA_LAUNCHER_ROOT", "GIVEN"}
    logs = [p for p in (tmp_path / "objects").rglob(f"{LOGS}*") if p.is_file()]
    assert len(logs) == len(TASKS)
    assert {p.read_text() for p in logs} == {"the task's words\n"}
    # Each artifact has a number of its own, the same wherever it is read.
    names = {}
    for task in TASKS:
        state = json.loads((answers / f"{task}.call.json").read_text())
        for entries in state["call"]["inputs"].get("artifacts", {}).values():
            artifact = entries["artifacts"][0]
            assert names.setdefault(artifact["uri"], artifact["name"]) == artifact["name"]
    assert len(set(names.values())) == len(names)


def test_the_number_of_a_try_is_in_the_name_of_its_log(tmp_path):
    for version, names in (("2.14", {LOGS}), ("2.17", {f"{LOGS}-1"})):
        failing = tmp_path / f"fails-{version}"
        script = (
            "import pathlib, sys\n"
            f"first = pathlib.Path({str(failing)!r})\n"
            "if not first.exists():\n    first.touch()\n    sys.exit(1)\n"
        )
        task = {"componentRef": {"name": "Only"}, "retryPolicy": {"maxRetryCount": 1,
                "backoffMaxDuration": "60s"}}  # fmt: skip
        spec = {
            "pipelineInfo": {"name": "one"},
            "components": {"Only": {"executorLabel": "only"}},
            "deploymentSpec": {
                "executors": {"only": {"container": {"command": [sys.executable, "-c", script]}}}
            },
            "root": {"dag": {"tasks": {"Only": task}}},
        }
        objects = tmp_path / f"objects-{version}"
        places = RunFolders(
            tmp_path / f"w-{version}", object_store=objects, backend=BACKENDS[version]
        )
        record = run_spec(spec, {}, places, sleep=lambda _: None)
        assert record.tasks["Only"].attempts == 2
        assert {p.name for p in objects.rglob("*") if p.is_file()} == names
        # Where nothing says where artifacts go, the installation's own place is it.
        assert (objects / "mlpipeline/v2/artifacts/one").is_dir()
