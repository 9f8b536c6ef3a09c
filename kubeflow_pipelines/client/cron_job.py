"""Kubernetes manifests that submit the pipeline every day.

A CronJob calls `tessera submit --once`. It needs nothing of Kubeflow's own schedules, so it works
with every version; a job that is started again on the same day starts no second run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigError
from core.files import staged_file
from kubeflow_pipelines.client.cron import Cron, check_cron
from kubeflow_pipelines.client.monitor_job import CONTAINER_SECURITY, POD_SECURITY, monitor_job
from kubeflow_pipelines.client.sign_in import AUDIENCE, TOKEN_VARIABLE
from kubeflow_pipelines.package import Compiled
from pipeline.config import RunConfig
from pipeline.config.kubeflow import KubeflowConfig

#: What Kubernetes takes for a ConfigMap, all its keys together.
CONFIG_MAP_LIMIT = 1024 * 1024
_MOUNT = "/etc/tessera"
_DAY_S = 86_400
_LONGEST_DELAY_S = 3600
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,49}[a-z0-9])?")
_HEAD = "# Written by tessera schedule; write it again instead of editing it.\n"
#: Where kfp's client looks for a token that the cluster renews.
_TOKEN_FOLDER = "/var/run/secrets/kubeflow/pipelines"
_CA_FOLDER = "/etc/tessera-ca"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, and everything where it stands."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never refers to an earlier place of the file."""
        del data
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


@dataclass(frozen=True)
class Submission:
    """What is submitted every day.

    Attributes:
      compiled: the pipeline.
      config: image, namespace, service account, sign-in and lag are in its `kubeflow`.
      host: of the Kubeflow Pipelines API, as seen from the cluster.
      cron: six fields.
      parameters: of every run, beside its day.
      token_secret: a secret whose key `token` holds the token.
      ca_config_map: a config map whose key `ca.crt` holds the API's certificates; '': none.
    """

    compiled: Compiled
    config: RunConfig
    host: str
    cron: str
    parameters: Mapping[str, str]
    token_secret: str
    ca_config_map: str = ""

    @property
    def name(self) -> str:
        """Of every object."""
        return f"{self.compiled.name}-submit"


def write_cron_job(path: Path, submission: Submission) -> None:
    """Writes one file for `kubectl apply`: a ConfigMap and a CronJob, or two with the monitor's.

    Raises:
      ConfigError: no image, a name or size that Kubernetes does not take.
    """
    text = "---\n".join(_yaml(document) for document in _documents(submission).values())
    with staged_file(path) as staging:
        staging.write_text(_HEAD + text, encoding="utf-8")


def write_manifests(directory: Path, submission: Submission) -> list[Path]:
    """Writes a ConfigMap, CronJobs and a kustomization; equal input gives equal files.

    Args:
      directory: is made where it is missing.
      submission: what the files are for.

    Returns:
      The files.

    Raises:
      ConfigError: no image, a name or size that Kubernetes does not take.
    """
    documents = _documents(submission)
    documents["kustomization.yaml"] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(documents),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for file_name, document in documents.items():
        (directory / file_name).write_text(_HEAD + _yaml(document), encoding="utf-8")
    return [directory / file_name for file_name in documents]


def _yaml(document: dict[str, Any]) -> str:
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    return text


def _documents(submission: Submission) -> dict[str, dict[str, Any]]:
    """Returns file name -> object of Kubernetes."""
    kubeflow = submission.config.kubeflow
    if not kubeflow.image:
        raise ConfigError(
            "kubeflow.image is not set: the CronJob runs this project's image, NAME@sha256:DIGEST "
            "or NAME:TAG"
        )
    for what, value in (
        ("pipeline name", submission.name),
        ("--token-secret", submission.token_secret),
    ):
        if not _NAME.fullmatch(value):
            raise ConfigError(
                f"{what} {value!r}: Kubernetes takes at most 51 lower-case letters, digits and '-'"
            )
    documents = {"configmap.yaml": _config_map(submission), "cronjob.yaml": _cron_job(submission)}
    if kubeflow.monitor.log:
        name = f"{submission.compiled.name}-monitor"
        job = monitor_job(name, submission.config, submission.parameters)
        documents["monitor.yaml"] = cron_job(
            name, _labels(submission.compiled), check_cron(kubeflow.monitor.cron), job
        )
    if kubeflow.namespace:
        for document in documents.values():
            document["metadata"]["namespace"] = kubeflow.namespace
    return documents


def _config_map(submission: Submission) -> dict[str, Any]:
    compiled = submission.compiled
    data = {
        "pipeline.yaml": compiled.path.read_text(encoding="utf-8"),
        "tessera.yaml": yaml.safe_dump(_settings(submission), sort_keys=False),
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
        "metadata": {"name": submission.name, "labels": _labels(compiled)},
        "data": data,
    }


def _settings(submission: Submission) -> dict[str, Any]:
    """Returns as much of the configuration as `tessera submit` needs."""
    config = submission.config
    kept = ("namespace", "experiment", "service_account", "pipeline_root", "sign_in", "proxy")
    kubeflow = {key: value for key in kept if (value := getattr(config.kubeflow, key))}
    if submission.ca_config_map:
        kubeflow["ca_cert"] = f"{_CA_FOLDER}/ca.crt"
    data = config.data.model_dump(mode="json", exclude_unset=True)
    return {
        "name": config.name,
        "data": data,
        "kubeflow": {"host": submission.host, **kubeflow},
    }


def _labels(compiled: Compiled) -> dict[str, str]:
    return {"app.kubernetes.io/name": compiled.name, "app.kubernetes.io/part-of": "tessera"}


def _cron_job(submission: Submission) -> dict[str, Any]:
    compiled = submission.compiled
    template = {
        # A new file is a new version; the annotation shows which one a pod has submitted.
        "metadata": {
            "labels": _labels(compiled),
            "annotations": {"tessera/pipeline-version": compiled.version_name},
        },
        "spec": _pod(submission),
    }
    return cron_job(submission.name, _labels(compiled), check_cron(submission.cron), template)


def cron_job(
    name: str, labels: Mapping[str, str], cron: Cron, template: dict[str, Any]
) -> dict[str, Any]:
    """Returns a CronJob whose runs are neither repeated nor beside each other."""
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "labels": dict(labels)},
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


def _pod(submission: Submission) -> dict[str, Any]:
    kubeflow = submission.config.kubeflow
    asked = kubeflow.pod_of("default")
    volumes: list[dict[str, Any]] = [
        {"name": "pipeline", "configMap": {"name": submission.name}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        *_sign_in_volumes(kubeflow),
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "pipeline", "mountPath": _MOUNT, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    if _projects_token(kubeflow):
        mounts.append({"name": "kfp-token", "mountPath": _TOKEN_FOLDER, "readOnly": True})
    if submission.ca_config_map:
        volumes.append({"name": "ca", "configMap": {"name": submission.ca_config_map}})
        mounts.append({"name": "ca", "mountPath": _CA_FOLDER, "readOnly": True})
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": POD_SECURITY,
        "containers": [_container(submission, mounts)],
        "volumes": volumes,
    }
    if asked.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in asked.image_pull_secrets]
    if kubeflow.service_account:
        pod = {"serviceAccountName": kubeflow.service_account, **pod}
    return pod


def _container(submission: Submission, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    kubeflow = submission.config.kubeflow
    lag = f"-{kubeflow.schedule.lag_days}d" if kubeflow.schedule.lag_days else ""
    # The shell computes the day; `exec` lets the signals of Kubernetes reach tessera. What
    # follows `--` are the shell's own words, so no value of a parameter is read by it.
    script = (
        f"exec tessera submit {_MOUNT}/pipeline.yaml --conf {_MOUNT}/tessera.yaml "
        f'--run-date "$(date -u +%Y-%m-%d){lag}" --once --wait "$@"'
    )
    given = sorted(submission.parameters.items())
    arguments = [f"--param={key}={value}" for key, value in given]
    env: list[dict[str, Any]] = [{"name": "HOME", "value": "/tmp"}]
    if kubeflow.sign_in in ("auto", "token"):
        token = {
            "name": submission.token_secret, "key": "token",
            "optional": kubeflow.sign_in == "auto",
        }  # fmt: skip
        env.append({"name": TOKEN_VARIABLE, "valueFrom": {"secretKeyRef": token}})
    return {
        "name": "submit",
        "image": kubeflow.image,
        "command": ["sh", "-c", script, "--", *arguments],
        "env": env,
        "securityContext": CONTAINER_SECURITY,
        "resources": {
            "requests": {"cpu": "100m", "memory": "512Mi"},
            "limits": {"memory": "1Gi"},
        },
        "volumeMounts": mounts,
    }


def _projects_token(kubeflow: KubeflowConfig) -> bool:
    return kubeflow.sign_in == "service_account"


def _sign_in_volumes(kubeflow: KubeflowConfig) -> list[dict[str, Any]]:
    """Returns the volume with a token of the service account that the cluster renews."""
    if not _projects_token(kubeflow):
        return []
    source = {"path": "token", "audience": AUDIENCE, "expirationSeconds": 7200}
    return [{"name": "kfp-token", "projected": {"sources": [{"serviceAccountToken": source}]}}]
