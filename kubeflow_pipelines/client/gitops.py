"""Kubernetes manifests that submit the pipeline every day, for deployment with GitOps.

A CronJob calls `tessera submit`. It needs nothing of Kubeflow's own schedules, so it
works with backends that do not fill in the scheduled day.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigError
from kubeflow_pipelines.client.connection import TOKEN_VARIABLE
from kubeflow_pipelines.client.cron import Cron, check_cron
from kubeflow_pipelines.package import Compiled
from pipeline.config import RunConfig
from pipeline.config.kubeflow import KubeflowConfig

#: What Kubernetes takes for a ConfigMap, all its keys together.
CONFIG_MAP_LIMIT = 1024 * 1024
_MOUNT = "/etc/tessera"
_USER = 1000
_DAY_S = 86_400
_LONGEST_DELAY_S = 3600
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,49}[a-z0-9])?")
_HEAD = "# Written by tessera schedule --gitops; write it again instead of editing it.\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def write_manifests(
    directory: Path,
    compiled: Compiled,
    config: RunConfig,
    host: str,
    *,
    cron: str,
    parameters: Mapping[str, str],
    token_secret: str,
) -> list[Path]:
    """Writes a ConfigMap, a CronJob and a kustomization; equal input gives equal files.

    Args:
      directory: is made where it is missing.
      compiled: the pipeline.
      config: image, namespace, service account and lag are in its `kubeflow`.
      host: of the Kubeflow Pipelines API, as seen from the cluster.
      cron: six fields.
      parameters: of every run, beside its day.
      token_secret: a secret whose key `token` holds the token.

    Returns:
      The files.

    Raises:
      ConfigError: no image, a name or size that Kubernetes does not take.
    """
    kubeflow = config.kubeflow
    if not kubeflow.image:
        raise ConfigError(
            "kubeflow.image is not set: the CronJob runs this project's image, NAME@sha256:DIGEST "
            "or NAME:TAG"
        )
    name = f"{compiled.name}-submit"
    for what, value in (("pipeline name", name), ("--token-secret", token_secret)):
        if not _NAME.fullmatch(value):
            raise ConfigError(
                f"{what} {value!r}: Kubernetes takes at most 51 lower-case letters, digits and '-'"
            )
    checked = check_cron(cron)
    arguments = [f"--param={key}={value}" for key, value in sorted(parameters.items())]
    documents = {
        "configmap.yaml": _config_map(name, compiled, config, host),
        "cronjob.yaml": _cron_job(name, compiled, kubeflow, checked, arguments, token_secret),
    }
    if kubeflow.namespace:
        for document in documents.values():
            document["metadata"]["namespace"] = kubeflow.namespace
    documents["kustomization.yaml"] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["configmap.yaml", "cronjob.yaml"],
    }
    directory.mkdir(parents=True, exist_ok=True)
    for file_name, document in documents.items():
        text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
        (directory / file_name).write_text(_HEAD + text, encoding="utf-8")
    return [directory / file_name for file_name in documents]


def _config_map(name: str, compiled: Compiled, config: RunConfig, host: str) -> dict[str, Any]:
    data = {
        "pipeline.yaml": compiled.path.read_text(encoding="utf-8"),
        "tessera.yaml": yaml.safe_dump(_settings(config, host), sort_keys=False),
    }
    size = sum(len(key) + len(value.encode()) for key, value in data.items())
    if size >= CONFIG_MAP_LIMIT:
        raise ConfigError(
            f"{compiled.path}: {size:,} bytes, but a ConfigMap holds less than "
            f"{CONFIG_MAP_LIMIT:,}; put the file into the image and call tessera submit with it"
        )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": _labels(compiled)},
        "data": data,
    }


def _settings(config: RunConfig, host: str) -> dict[str, Any]:
    """Returns as much of the configuration as `tessera submit` needs."""
    kept = ("namespace", "experiment", "service_account", "pipeline_root")
    kubeflow = {key: value for key in kept if (value := getattr(config.kubeflow, key))}
    data = config.data.model_dump(mode="json", exclude_unset=True)
    return {"name": config.name, "data": data, "kubeflow": {"host": host, **kubeflow}}


def _labels(compiled: Compiled) -> dict[str, str]:
    return {"app.kubernetes.io/name": compiled.name, "app.kubernetes.io/part-of": "tessera"}


def _cron_job(
    name: str,
    compiled: Compiled,
    kubeflow: KubeflowConfig,
    cron: Cron,
    arguments: list[str],
    token_secret: str,
) -> dict[str, Any]:
    pod = _pod(name, kubeflow, arguments, token_secret)
    template = {
        # A new file is a new version; the annotation shows which one a pod has submitted.
        "metadata": {
            "labels": _labels(compiled),
            "annotations": {"tessera/pipeline-version": compiled.version_name},
        },
        "spec": pod,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "labels": _labels(compiled)},
        "spec": {
            "schedule": cron.five_fields(),
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _delay(cron),
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 7,
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": template}},
        },
    }


def _delay(cron: Cron) -> int:
    """Returns how late a job may start; after midnight it would ask for another day."""
    return max(60, min(_LONGEST_DELAY_S, _DAY_S - 60 - cron.latest_second))


def _pod(
    name: str, kubeflow: KubeflowConfig, arguments: list[str], token_secret: str
) -> dict[str, Any]:
    lag = f"-{kubeflow.schedule.lag_days}d" if kubeflow.schedule.lag_days else ""
    # The shell computes the day; `exec` lets the signals of Kubernetes reach tessera. What
    # follows `--` are the shell's own words, so no value of a parameter is read by it.
    script = (
        f"exec tessera submit {_MOUNT}/pipeline.yaml --conf {_MOUNT}/tessera.yaml "
        f'--run-date "$(date -u +%Y-%m-%d){lag}" --wait "$@"'
    )
    token = {"name": token_secret, "key": "token", "optional": True}
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "submit",
                "image": kubeflow.image,
                "command": ["sh", "-c", script, "--", *arguments],
                "env": [
                    {"name": "HOME", "value": "/tmp"},
                    {"name": TOKEN_VARIABLE, "valueFrom": {"secretKeyRef": token}},
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": {
                    "requests": {"cpu": "100m", "memory": "512Mi"},
                    "limits": {"memory": "1Gi"},
                },
                "volumeMounts": [
                    {"name": "pipeline", "mountPath": _MOUNT, "readOnly": True},
                    {"name": "tmp", "mountPath": "/tmp"},
                ],
            }
        ],
        "volumes": [
            {"name": "pipeline", "configMap": {"name": name}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }
    if kubeflow.service_account:
        pod = {"serviceAccountName": kubeflow.service_account, **pod}
    return pod
