"""Typed configuration of the compiled pipeline and of its schedule."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from core.config import BaseConfig

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[^@\s]*[^@\s:/]:(?!latest$)[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def is_pinned(image: str) -> bool:
    """Returns whether an image is named by a digest, or by a tag but `latest`."""
    return bool(_DIGEST.fullmatch(image) or _TAG.fullmatch(image))


class RetryConfig(BaseConfig):
    """What follows when a task fails: tries with growing pauses."""

    max_retries: int = Field(2, ge=1, le=20)
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
    memory_request_gb: float | None = Field(None, gt=0.0)
    memory_limit_gb: float | None = Field(None, gt=0.0)
    accelerator_type: str | None = Field(None, description="for example nvidia.com/gpu")
    accelerator_count: int = Field(0, ge=0)

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


class TolerationConfig(BaseConfig):
    """One toleration of Kubernetes."""

    key: str = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    toleration_seconds: int | None = None


class SecretConfig(BaseConfig):
    """Environment variables from a Kubernetes secret; only its name is in the pipeline."""

    name: str
    env: dict[str, str] = Field(description="key in the secret -> environment variable")


class VolumeConfig(BaseConfig):
    """A persistent volume claim that every task mounts."""

    claim: str
    mount_path: str = Field(pattern=r"^/.+")


class PodConfig(BaseConfig):
    """Where tasks run and what they mount."""

    node_selector: dict[str, str] = {}
    tolerations: tuple[TolerationConfig, ...] = ()
    secrets: tuple[SecretConfig, ...] = ()
    volumes: tuple[VolumeConfig, ...] = ()

    @field_validator("secrets", "volumes")
    @classmethod
    def _legal_names(cls, entries: tuple) -> tuple:
        for entry in entries:
            name = getattr(entry, "name", None) or entry.claim
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r}: lower-case letters, digits, '-' and '.' only")
        return entries


class ScheduleConfig(BaseConfig):
    """When the pipeline runs by itself."""

    cron: str = Field(
        "0 0 3 * * *", description="six fields (seconds first), UTC, as Kubeflow Pipelines reads it"
    )
    lag_days: int = Field(
        1, ge=0, description="the span of a run is the scheduled day less so many days"
    )
    max_concurrency: Literal[1] = Field(
        1, description="two runs at once would both start from the same baseline"
    )


class KubeflowConfig(BaseConfig):
    """Kubeflow Pipelines: image, storage, resources and schedule."""

    image: str = Field(
        "", description="image of this project, by digest (NAME@sha256:...) or by tag"
    )
    pipeline_root: str = Field(
        "minio://mlpipeline/v2/artifacts", description="object storage of the artifacts"
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
    namespace: str = Field("", description="for a multi-user installation")
    experiment: str = Field("", description="'': the name of the pipeline")
    service_account: str = ""
    status_dir: str = Field(
        "", description="folder or URL that keeps how each run ended; empty: only the log says it"
    )
    retry: RetryConfig = RetryConfig()
    resources: dict[str, ResourceConfig] = Field(
        default={"default": ResourceConfig()},
        description="component id -> resources; `default` for those that are not named",
    )
    env: dict[str, str] = Field(
        {},
        description="environment variables of every container; TESSERA_SHARED_DIR: a folder on a "
        "volume that Beam's workers elsewhere mount too",
    )
    cache: bool = Field(
        False, description="let Kubeflow reuse outputs of tasks that only depend on their inputs"
    )
    pods: PodConfig = PodConfig()
    schedule: ScheduleConfig = ScheduleConfig()

    @field_validator("image")
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
        if not root.startswith(("minio://", "s3://", "gs://")):
            raise ValueError("expected minio://, s3:// or gs:// and a bucket")
        return root.rstrip("/")
