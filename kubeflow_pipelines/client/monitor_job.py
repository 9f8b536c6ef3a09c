"""The pod that compares every night what was served with what was trained on.

`tessera monitor` reads the request log, which no task of the chain writes: it comes from the
servers. So it is a job beside the pipeline's, and its exit code fails that job alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from core.errors import ConfigError
from core.storage import is_remote
from kubeflow_pipelines.parameters import SERVING_ROOT
from pipeline.config import RunConfig
from pipeline.config.kubeflow import MONITOR
from pipeline.config.pods import PodConfig

_USER = 1000
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": _USER,
    "runAsGroup": _USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def monitor_job(name: str, config: RunConfig, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Returns the template of the pod.

    Args:
      name: of the CronJob.
      config: what is compared is in its `kubeflow.monitor`.
      parameters: of every run; the serving folder may be one.

    Raises:
      ConfigError: a folder is on none of the pod's volumes.
    """
    kubeflow, asked = config.kubeflow, config.kubeflow.monitor
    pod = kubeflow.pod_of(MONITOR)
    serving = parameters.get(SERVING_ROOT) or config.serving_dir
    bundle = asked.bundle or f"{str(serving).rstrip('/')}/{config.name}"
    for key, place in (("out", asked.out), ("log", asked.log), ("bundle", bundle)):
        _refuse_lost(key, place, pod)
    volumes = {volume.claim: volume.mount_path for volume in pod.volumes}
    mounts = [{"name": claim, "mountPath": path} for claim, path in volumes.items()]
    claims = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in volumes]
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {**POD_SECURITY, "fsGroup": _USER},
        "containers": [
            {
                "name": "monitor",
                "image": kubeflow.image,
                "command": [
                    "tessera",
                    "monitor",
                    f"--bundle={bundle}",
                    f"--log={asked.log}",
                    f"--last-hours={asked.last_hours}",
                    # A new version may have been published in these hours.
                    "--all-versions",
                    f"--out={asked.out}",
                ],
                "env": _environment(kubeflow.env, pod),
                "securityContext": CONTAINER_SECURITY,
                "resources": {
                    "requests": {"cpu": "500m", "memory": "2Gi"},
                    "limits": {"memory": "4Gi"},
                },
                "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],
            }
        ],
        "volumes": [*claims, {"name": "tmp", "emptyDir": {}}],
    }
    if pod.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": each} for each in pod.image_pull_secrets]
    if kubeflow.service_account:
        spec["serviceAccountName"] = kubeflow.service_account
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "tessera"}
    return {"metadata": {"labels": labels}, "spec": spec}


def _refuse_lost(key: str, place: str, pod: PodConfig) -> None:
    """Refuses a folder that is gone with the pod, or was never in it."""
    if is_remote(place):
        return
    mounted = [volume.mount_path for volume in pod.volumes]
    if not any(PurePosixPath(place).is_relative_to(path) for path in mounted):
        raise ConfigError(
            f"kubeflow.monitor.{key} {place!r}: on no volume of the pod (mounted: "
            f"{', '.join(mounted) or 'none'}); name one under kubeflow.pods.{MONITOR}.volumes, "
            "or a URL"
        )


def _environment(given: Mapping[str, str], pod: PodConfig) -> list[dict[str, Any]]:
    """Returns the variables of every container and those of the pod's secrets and config maps."""
    found: list[dict[str, Any]] = [{"name": "HOME", "value": "/tmp"}]
    found += [{"name": name, "value": value} for name, value in given.items()]
    for kind, sources in (("secretKeyRef", pod.secrets), ("configMapKeyRef", pod.config_maps)):
        found += [
            {"name": variable, "valueFrom": {kind: {"name": source.name, "key": key}}}
            for source in sources
            for key, variable in source.env.items()
        ]
    return found
