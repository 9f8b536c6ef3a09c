"""Mends and completes what TFX 1.16 compiles, so that open-source Kubeflow runs it.

Each step says what is wrong without it. The input is a plain dictionary, the JSON form of
`ml_pipelines.PipelineSpec`; nothing here imports TFX.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from kubeflow_pipelines.parameters import MODEL_NAME, RUN_DATE, SERVING_ROOT
from kubeflow_pipelines.shown import READ, SHOWN, TYPE_VERSION
from pipeline.config import RunConfig
from pipeline.config.kubeflow import KubeflowConfig, ResourceConfig, RetryConfig

#: TFX's name of the graph below the exit handler.
TFX_DAG = "tfx-dag"
EXIT_HANDLER = "StatusReport"
INPUTS_SPEC_FLAG = "--json_serialized_inputs_spec_args"
OUTPUTS_SPEC_FLAG = "--json_serialized_outputs_spec_args"
_ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}


def finalize(
    compiled: Mapping[str, Any], config: RunConfig, defaults: Mapping[str, str]
) -> dict[str, Any]:
    """Returns a specification that open-source Kubeflow accepts and runs.

    Args:
      compiled: what TFX's runner returned under `pipelineSpec`.
      config: retries, resources and environment.
      defaults: values of the parameters that a run need not name.
    """
    spec = copy.deepcopy(dict(compiled))
    spec.pop("defaultPipelineRoot", None)
    if config.kubeflow.pipeline_root:
        spec["defaultPipelineRoot"] = config.kubeflow.pipeline_root
    _give_defaults(spec, defaults)
    _hand_parameters_down(spec)
    _hand_status_to_exit_handler(spec)
    _show(spec)
    for _, task in container_tasks(spec):
        task["retryPolicy"] = retry_policy(config.kubeflow.retry)
        # Tables and published versions change behind its key; inputs carry a new URI in each run.
        task["cachingOptions"] = {"enableCache": False}
    for name, component in spec["components"].items():
        if "executorLabel" in component:
            executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
            _complete_container(executor["container"], name, component, config.kubeflow)
    return spec


def container_tasks(spec: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name and the task of everything that runs in a container, sorted by name."""
    components = spec.get("components", {})
    graphs = [spec.get("root", {}), *components.values()]
    tasks = [item for graph in graphs for item in graph.get("dag", {}).get("tasks", {}).items()]
    for name, task in sorted(tasks, key=lambda item: item[0]):
        if "dag" not in components.get(task.get("componentRef", {}).get("name"), {}):
            yield name, task


def retry_policy(retry: RetryConfig) -> dict[str, Any]:
    """Returns the JSON of a `PipelineTaskSpec.RetryPolicy`."""
    return {
        "maxRetryCount": retry.max_retries,
        "backoffDuration": f"{retry.backoff_s}s",
        "backoffFactor": retry.backoff_factor,
        # To Argo no longest pause but a deadline, counted from the start of the first try
        # (kubeflow/pipelines#13452); without it the backend would set 0.
        "backoffMaxDuration": f"{retry.give_up_after_s}s",
    }


def _give_defaults(spec: dict[str, Any], defaults: Mapping[str, str]) -> None:
    """TFX drops the defaults of run-time parameters: every run would have to name them all."""
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    for name, value in defaults.items():
        if name in parameters:
            parameters[name] |= {"defaultValue": value, "isOptional": True}


def _hand_parameters_down(spec: dict[str, Any]) -> None:
    """Below an exit handler TFX refers to inputs of `tfx-dag` that it does not declare.

    The backend answers that the parent DAG does not have the input parameter.
    """
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    graph = spec["components"][TFX_DAG]
    graph["inputDefinitions"] = {
        "parameters": {
            name: {"parameterType": p["parameterType"]} for name, p in parameters.items()
        }
    }
    spec["root"]["dag"]["tasks"][TFX_DAG]["inputs"] = {
        "parameters": {name: {"componentInputParameter": name} for name in parameters}
    }


def _hand_status_to_exit_handler(spec: dict[str, Any]) -> None:
    """The backend passes a structure as the status, where TFX declares a string.

    TFX also gives an exit handler no run-time parameter: it gets them here.
    """
    declared = spec["components"][EXIT_HANDLER]["inputDefinitions"]["parameters"]
    declared["final_status"]["parameterType"] = "TASK_FINAL_STATUS"
    given = spec["root"]["dag"]["tasks"][EXIT_HANDLER]["inputs"]["parameters"]
    for key, name in (
        (RUN_DATE, RUN_DATE),
        (MODEL_NAME, MODEL_NAME),
        ("serving_dir", SERVING_ROOT),
    ):
        given[key] = {"componentInputParameter": name}


def _show(spec: dict[str, Any]) -> None:
    """Adds outputs that Kubeflow's pages show, and inputs that only these need."""
    components = spec["components"]
    tasks = dict(container_tasks(spec))
    for name, outputs in SHOWN.items():
        if name not in components:
            continue
        declared = components[name].setdefault("outputDefinitions", {}).setdefault("artifacts", {})
        for key, kind in outputs.items():
            declared[key] = {"artifactType": {"schemaTitle": kind, "schemaVersion": TYPE_VERSION}}
    for name, inputs in READ.items():
        for key, (producer, output) in inputs.items():
            if name in components and producer in components:
                _connect(spec, tasks[name], key, producer, output)


def _connect(
    spec: dict[str, Any], task: dict[str, Any], key: str, producer: str, output: str
) -> None:
    component = spec["components"][task["componentRef"]["name"]]
    made = spec["components"][producer]["outputDefinitions"]["artifacts"][output]
    component["inputDefinitions"]["artifacts"][key] = {"artifactType": made["artifactType"]}
    task["inputs"]["artifacts"][key] = {
        "taskOutputArtifact": {"producerTask": producer, "outputArtifactKey": output}
    }
    task["dependentTasks"] = sorted({*task.get("dependentTasks", ()), producer})
    # What TFX's entry point reads the inputs' types from.
    args = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]["args"]
    args[args.index(INPUTS_SPEC_FLAG) + 1] = json.dumps(
        component["inputDefinitions"], sort_keys=True
    )


def _complete_container(
    container: dict[str, Any],
    name: str,
    component: Mapping[str, Any],
    kubeflow: KubeflowConfig,
) -> None:
    # The backend hands on types of artifacts in a reduced form, or none: the entry point
    # takes those of the outputs from here, as TFX does for those of the inputs.
    outputs = json.dumps(component.get("outputDefinitions", {}), sort_keys=True)
    container["args"] = [*container["args"], OUTPUTS_SPEC_FLAG, outputs]
    container["env"] = [
        {"name": key, "value": value}
        for key, value in sorted((_ENVIRONMENT | kubeflow.env).items())
    ]
    resources = kubeflow.resources.get(name) or kubeflow.resources.get("default")
    if resources is not None and (wanted := _resources(resources)):
        container["resources"] = wanted
        if "accelerator" in wanted and kubeflow.accelerator_image:
            container["image"] = kubeflow.accelerator_image


def _resources(resources: ResourceConfig) -> dict[str, Any]:
    """Returns the JSON of a `ResourceSpec`: cores, gigabytes."""
    wanted = {
        "cpuRequest": resources.cpu_request,
        "cpuLimit": resources.cpu_limit,
        "memoryRequest": resources.memory_request_gb,
        "memoryLimit": resources.memory_limit_gb,
    }
    found: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    if resources.accelerator_type is not None:
        found["accelerator"] = {
            "type": resources.accelerator_type,
            # 64-bit integers are strings in the JSON form of a message.
            "count": str(resources.accelerator_count),
        }
    return found
