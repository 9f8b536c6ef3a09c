"""The platform specification: what only Kubernetes knows (nodes, secrets, volumes).

It is the second document of a compiled file, in the JSON form of `KubernetesExecutorConfig`, see
`platform_message`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format

from kubeflow_pipelines.compile.platform_message import executor_config_class
from pipeline.config.kubeflow import KubeflowConfig
from pipeline.config.pods import (
    ConfigMapConfig,
    EmptyDirConfig,
    EphemeralVolumeConfig,
    NodeAffinityConfig,
    PodConfig,
    TolerationConfig,
)

#: Where Linux has its shared memory: an empty folder in memory there, which every driver mounts.
_SHARED_MEMORY = "/dev/shm"


def platform_spec(spec: Mapping[str, Any], kubeflow: KubeflowConfig) -> list[dict[str, Any]]:
    """Returns the document, or nothing where no pod asks for anything.

    Args:
      spec: the pipeline specification; its executors are named.
      kubeflow: what each pod asks for.
    """
    executors = {}
    for name, component in sorted(spec["components"].items()):
        if "executorLabel" in component and (wanted := executor_config(kubeflow.pod_of(name))):
            executors[component["executorLabel"]] = wanted
    if not executors:
        return []
    return [{"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}]


def executor_config(pod: PodConfig) -> dict[str, Any]:
    """Returns the JSON of one `KubernetesExecutorConfig`."""
    memory = EmptyDirConfig(
        name="shared-memory", mount_path=_SHARED_MEMORY, medium="Memory",
        size_limit=pod.shared_memory,
    )  # fmt: skip
    empty_dirs = [*pod.empty_dirs, *([memory] if pod.shared_memory else [])]
    metadata = {"labels": pod.labels, "annotations": pod.annotations}
    tree = {
        "secret_as_env": _variables(pod.secrets, "secret_name", "secret_key"),
        "secret_as_volume": _files(pod.secrets, "secret_name"),
        "config_map_as_env": _variables(pod.config_maps, "config_map_name", "config_map_key"),
        "config_map_as_volume": _files(pod.config_maps, "config_map_name"),
        "pvc_mount": [{"constant": v.claim, "mount_path": v.mount_path} for v in pod.volumes],
        "node_selector": {"labels": pod.node_selector} if pod.node_selector else {},
        "node_affinity": [_affinity(entry) for entry in pod.node_affinity],
        "tolerations": [_toleration(entry) for entry in pod.tolerations],
        "image_pull_secret": [{"secret_name": name} for name in pod.image_pull_secrets],
        "pod_metadata": {key: value for key, value in metadata.items() if value},
        "active_deadline_seconds": pod.active_deadline_s,
        "generic_ephemeral_volume": [_ephemeral(entry) for entry in pod.ephemeral_volumes],
        "empty_dir_mounts": [_empty_dir(entry) for entry in empty_dirs],
    }
    message = executor_config_class()()
    json_format.ParseDict({key: value for key, value in tree.items() if value}, message)
    found: dict[str, Any] = json_format.MessageToDict(message)
    return found


def _variables(
    entries: Iterable[ConfigMapConfig | Any], name: str, key: str
) -> list[dict[str, Any]]:
    return [
        {
            name: entry.name,
            "key_to_env": [{key: k, "env_var": v} for k, v in sorted(entry.env.items())],
        }
        for entry in entries
        if entry.env
    ]


def _files(entries: Iterable[ConfigMapConfig | Any], name: str) -> list[dict[str, Any]]:
    return [
        {name: entry.name, "mount_path": entry.mount_path} for entry in entries if entry.mount_path
    ]


def _affinity(entry: NodeAffinityConfig) -> dict[str, Any]:
    rules = [
        {"key": rule.key, "operator": rule.operator, "values": list(rule.values)}
        for rule in entry.rules
    ]
    weight = {} if entry.weight is None else {"weight": entry.weight}
    return {"match_expressions": rules, **weight}


def _toleration(entry: TolerationConfig) -> dict[str, Any]:
    found = entry.model_dump(exclude_defaults=True)
    return {"operator": entry.operator, **found}


def _ephemeral(entry: EphemeralVolumeConfig) -> dict[str, Any]:
    found: dict[str, Any] = {
        "volume_name": entry.name,
        "mount_path": entry.mount_path,
        "access_modes": list(entry.access_modes),
        "size": entry.size,
    }
    if entry.storage_class:
        return {**found, "storage_class_name": entry.storage_class}
    return {**found, "default_storage_class": True}


def _empty_dir(entry: EmptyDirConfig) -> dict[str, Any]:
    found = {"volume_name": entry.name, "mount_path": entry.mount_path}
    optional = {"medium": entry.medium, "size_limit": entry.size_limit}
    return {**found, **{key: value for key, value in optional.items() if value}}
