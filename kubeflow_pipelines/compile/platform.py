"""The platform specification: what only Kubernetes knows (nodes, secrets, volumes).

It is the second document of a compiled file, in the form of kfp-kubernetes's
`KubernetesExecutorConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes

from pipeline.config.kubeflow import KubeflowConfig, PodConfig, TolerationConfig


def platform_spec(spec: Mapping[str, Any], kubeflow: KubeflowConfig) -> list[dict[str, Any]]:
    """Returns the document, or nothing where no pod asks for anything.

    Args:
      spec: the pipeline specification; its executors are named.
      kubeflow: what every pod asks for.
    """
    wanted = executor_config(kubeflow.pods)
    if not wanted:
        return []
    executors = {label: dict(wanted) for label in sorted(spec["deploymentSpec"]["executors"])}
    return [{"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}]


def executor_config(pods: PodConfig) -> dict[str, Any]:
    """Returns the JSON of one `KubernetesExecutorConfig`."""
    message = kubernetes.KubernetesExecutorConfig()
    if pods.node_selector:
        message.node_selector.labels.update(pods.node_selector)
    for secret in pods.secrets:
        entry = message.secret_as_env.add(secret_name=secret.name)
        for key, variable in sorted(secret.env.items()):
            entry.key_to_env.add(secret_key=key, env_var=variable)
    for volume in pods.volumes:
        message.pvc_mount.add(constant=volume.claim, mount_path=volume.mount_path)
    found: dict[str, Any] = json_format.MessageToDict(message)
    if pods.tolerations:
        # Part of the message since kfp-kubernetes 1.1, which needs a later kfp than TFX allows;
        # the backend reads it since 2.0.5.
        found["tolerations"] = [_toleration(entry) for entry in pods.tolerations]
    return found


def _toleration(entry: TolerationConfig) -> dict[str, Any]:
    found: dict[str, Any] = {"operator": entry.operator}
    for key, value in (("key", entry.key), ("value", entry.value), ("effect", entry.effect)):
        if value:
            found[key] = value
    if entry.toleration_seconds is not None:
        found["tolerationSeconds"] = str(entry.toleration_seconds)
    return found
