"""Typed configuration of the compiled pipeline and of its schedule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from core.config import BaseConfig, Removed
from pipeline.config.pods import PodConfig

#: Name of the monitor's pod in `kubeflow.pods`; it is no component.
MONITOR = "Monitor"
_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[^@\s]*[^@\s:/]:(?!latest$)[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def is_pinned(image: str) -> bool:
    """Returns whether an image is named by a digest, or by a tag but `latest`."""
    return bool(_DIGEST.fullmatch(image) or _TAG.fullmatch(image))


class RetryConfig(BaseConfig):
    """What follows when a task fails: tries with growing pauses."""

    max_retries: int = Field(2, ge=1, le=20, description="tries after the first one")
    backoff_s: int = Field(30, ge=1, description="pause before the first retry")
    backoff_factor: int = Field(2, ge=1, description="Argo takes whole numbers alone")
    give_up_after_s: int = Field(
        172_800,
        ge=21_600,
        description="from the start of the first try; then a running try is ended and none "
        "follows, so it must be longer than all tries of the longest task together",
    )


class ResourceConfig(BaseConfig):
    """What a task's container asks for; a limit is its request too where that is not given."""

    cpu_request: float | None = Field(None, gt=0.0, description="cores")
    cpu_limit: float | None = Field(None, gt=0.0, description="cores")
    memory_request_gb: float | None = Field(
        None, gt=0.0, description="gigabytes of memory a pod asks for"
    )
    memory_limit_gb: float | None = Field(
        None, gt=0.0, description="gigabytes of memory a pod may use"
    )
    accelerator_type: str | None = Field(None, description="for example nvidia.com/gpu")
    accelerator_count: int = Field(0, ge=0, description="accelerators of accelerator_type")

    @model_validator(mode="after")
    def _complete(self) -> ResourceConfig:
        if (self.accelerator_type is None) != (self.accelerator_count == 0):
            raise ValueError("accelerator_type and accelerator_count go together")
        for what, request, limit in (
            ("cpu", self.cpu_request, self.cpu_limit),
            ("memory", self.memory_request_gb, self.memory_limit_gb),
        ):
            if request is not None and limit is not None and request > limit:
                raise ValueError(f"{what}: the request {request} is above the limit {limit}")
        return self


class ScheduleConfig(BaseConfig):
    """When the pipeline runs by itself."""

    SECTION = "kubeflow.schedule"
    REMOVED = {"max_concurrency": Removed(None, "a schedule runs alone")}

    cron: str = Field(
        "0 0 3 * * *", description="six fields (seconds first), UTC, as Kubeflow Pipelines reads it"
    )
    lag_days: int = Field(
        1, ge=0, description="the span of a run is the day of its start (UTC) less so many days"
    )


class MonitorConfig(BaseConfig):
    """A nightly look at what was served; `tessera schedule` writes its CronJob."""

    SECTION = "kubeflow.monitor"

    log: str = Field(
        "", description="request log: a URL, or a folder on a volume of the pod; empty: no job"
    )
    out: str = Field("", description="folder for page and JSON, on a volume of the pod")
    bundle: str = Field(
        "",
        description="what is served, a URL or a folder; empty: serving_root or serving_dir, and "
        "the name",
    )
    cron: str = Field("0 30 4 * * *", description="six fields (seconds first), UTC")
    last_hours: int = Field(24, ge=1, description="hours of the log that are looked at")

    @model_validator(mode="after")
    def _complete(self) -> MonitorConfig:
        if self.log and not self.out.startswith("/"):
            raise ValueError(
                f"out: {self.out!r} is no absolute folder; name one on a volume that "
                "kubeflow.pods.Monitor mounts"
            )
        return self


class KubeflowConfig(BaseConfig):
    """Kubeflow Pipelines: image, storage, resources and schedule."""

    SECTION = "kubeflow"
    REMOVED = {"cache": Removed(False, "inputs carry a new URI in each run, so nothing was reused")}

    image: str = Field(
        "", description="image of this project, by digest (NAME@sha256:...) or by tag"
    )
    accelerator_image: str = Field(
        "",
        description="image of the tasks that ask for an accelerator (`make image VARIANT=cuda`), "
        "pinned like `image`; empty: `image`",
    )
    pipeline_root: str = Field(
        "",
        description="object storage of the artifacts; empty leaves it to the installation, which "
        "may refuse any other (many users, from 2.15 on)",
    )
    checkpoint_dir: str = Field(
        "checkpoints",
        description="of a training; on a mounted volume a retried training resumes, "
        "the default is lost with its pod",
    )
    dead_letter_dir: str = Field(
        "dead_letters", description="of a run that they stopped; a volume's folder or a URL"
    )
    host: str = Field("", description="address of the Kubeflow Pipelines API")
    sign_in: Literal["auto", "none", "token", "service_account"] = Field(
        "auto",
        description="token: KFP_TOKEN; service_account: a projected token of the pod "
        "(KF_PIPELINES_SA_TOKEN_PATH); auto: whichever of these is there",
    )
    ca_cert: str = Field("", description="file with the certificates that the API's is signed by")
    proxy: str = Field("", description="URL of a proxy; empty: HTTPS_PROXY and NO_PROXY decide")
    namespace: str = Field("", description="for a multi-user installation")
    experiment: str = Field("", description="'': the name of the pipeline")
    service_account: str = Field(
        "", description="of the tasks' pods; empty: the installation's default"
    )
    status_dir: str = Field(
        "", description="folder or URL that keeps how each run ended; empty: only the log says it"
    )
    retry: RetryConfig = Field(
        RetryConfig(), description="how often and after which time a task is tried again"
    )
    resources: dict[str, ResourceConfig] = Field(
        default={"default": ResourceConfig()},
        description="component id -> resources; `default` for those that are not named",
    )
    env: dict[str, str] = Field(
        {},
        description="environment variables of every container; TESSERA_SHARED_DIR: a folder on a "
        "volume that Beam's workers elsewhere mount too",
    )
    pods: dict[str, PodConfig] = Field(
        {},
        description="component id -> what its pod asks for, over that of `default`, which is for "
        "all",
    )
    schedule: ScheduleConfig = Field(ScheduleConfig(), description="when the pipeline runs")
    monitor: MonitorConfig = Field(
        MonitorConfig(), description="what looks at the request log every night"
    )

    @model_validator(mode="before")
    @classmethod
    def _flat_pods(cls, tree: Any) -> Any:
        pods = tree.get("pods") if isinstance(tree, Mapping) else None
        if isinstance(pods, Mapping) and pods.keys() & PodConfig.model_fields.keys():
            # Before there were pods per component, what is now `default` was all of it.
            flat = {key: value for key, value in pods.items() if key in PodConfig.model_fields}
            rest = {key: value for key, value in pods.items() if key not in flat}
            return {**tree, "pods": {**rest, "default": {**(rest.get("default") or {}), **flat}}}
        return tree

    def pod_of(self, component: str) -> PodConfig:
        """Returns what the pod of a component asks for, `default` included."""
        base, own = self.pods.get("default", PodConfig()), self.pods.get(component)
        return base if own is None else base.over(own)

    @field_validator("image", "accelerator_image")
    @classmethod
    def _pinned(cls, image: str) -> str:
        if image and not is_pinned(image):
            raise ValueError(
                "the image must be pinned: NAME@sha256:DIGEST, or NAME:TAG with a tag that is "
                "never moved (not latest)"
            )
        return image

    @field_validator("pipeline_root")
    @classmethod
    def _object_storage(cls, root: str) -> str:
        if root and not root.startswith(("minio://", "s3://", "gs://")):
            raise ValueError("expected minio://, s3:// or gs:// and a bucket")
        return root.rstrip("/")

    @field_validator("proxy")
    @classmethod
    def _proxy_url(cls, proxy: str) -> str:
        if proxy and not re.fullmatch(r"https?://[^\s/@]+/?", proxy):
            raise ValueError("expected http://HOST:PORT or https://HOST:PORT, without a password")
        return proxy
