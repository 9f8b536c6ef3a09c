"""What the pods of tasks ask Kubernetes for: nodes, secrets, config maps, volumes, labels."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from core.config import BaseConfig

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_VOLUME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$"
_PATH = r"^/.+"


class TolerationConfig(BaseConfig):
    """One toleration of Kubernetes."""

    key: str = Field("", description="of the taint; empty with Exists: every taint")
    operator: Literal["Equal", "Exists"] = Field(
        "Equal", description="Equal compares the value, Exists does not"
    )
    value: str = Field("", description="of the taint")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        "", description="of the taint; empty: every effect"
    )
    toleration_seconds: int | None = Field(None, description="seconds a pod stays under NoExecute")


class NodeRuleConfig(BaseConfig):
    """One condition on a node's labels."""

    key: str = Field(description="label of the node")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        "In", description="how label and values are compared"
    )
    values: tuple[str, ...] = Field((), description="what the label is compared with")


class NodeAffinityConfig(BaseConfig):
    """Conditions that a node must meet together, or with a weight should."""

    rules: tuple[NodeRuleConfig, ...] = Field(min_length=1, description="all of them must hold")
    weight: int | None = Field(None, ge=1, le=100, description="None: required")


class SecretConfig(BaseConfig):
    """A Kubernetes secret as environment variables or files; only its name is in the pipeline."""

    name: str = Field(description="of the secret")
    env: dict[str, str] = Field({}, description="key in the secret -> environment variable")
    mount_path: str = Field(
        "", pattern=r"^(/.+)?$", description="folder that holds a file per key; '': none"
    )

    @model_validator(mode="after")
    def _used(self) -> SecretConfig:
        if not self.env and not self.mount_path:
            raise ValueError(f"{self.name}: give env, mount_path or both")
        return self


class ConfigMapConfig(SecretConfig):
    """A Kubernetes config map as environment variables or files."""


class VolumeConfig(BaseConfig):
    """A persistent volume claim that tasks mount."""

    claim: str = Field(description="name of the volume claim")
    mount_path: str = Field(pattern=_PATH, description="folder it appears at")


class EmptyDirConfig(BaseConfig):
    """An empty folder that lives and dies with the pod."""

    name: str = Field(description="of the volume")
    mount_path: str = Field(pattern=_PATH, description="folder it appears at")
    medium: Literal["", "Memory"] = Field("", description="Memory: a tmpfs; empty: disk")
    size_limit: str = Field("", pattern=f"{_QUANTITY}|^$", description="for example 8Gi")


class EphemeralVolumeConfig(BaseConfig):
    """A volume claim that is made for the pod and deleted with it."""

    name: str = Field(description="of the volume")
    mount_path: str = Field(pattern=_PATH, description="folder it appears at")
    size: str = Field(pattern=_QUANTITY, description="for example 50Gi")
    storage_class: str = Field("", description="'': the cluster's default")
    access_modes: tuple[str, ...] = Field(("ReadWriteOnce",), description="of the claim")


class PodConfig(BaseConfig):
    """What one task's pod asks for."""

    node_selector: dict[str, str] = Field({}, description="labels of the nodes a pod may run on")
    node_affinity: tuple[NodeAffinityConfig, ...] = Field(
        (), description="rules for the nodes a pod may or should run on"
    )
    tolerations: tuple[TolerationConfig, ...] = Field(
        (), description="taints of nodes that a pod tolerates"
    )
    image_pull_secrets: tuple[str, ...] = Field((), description="secrets to pull the image with")
    labels: dict[str, str] = Field({}, description="labels of the pod")
    annotations: dict[str, str] = Field({}, description="annotations of the pod")
    active_deadline_s: int | None = Field(
        None, ge=60, description="Kubernetes ends the pod after so many seconds"
    )
    secrets: tuple[SecretConfig, ...] = Field((), description="secrets as variables or files")
    config_maps: tuple[ConfigMapConfig, ...] = Field(
        (), description="config maps as variables or files"
    )
    volumes: tuple[VolumeConfig, ...] = Field((), description="volume claims that are mounted")
    ephemeral_volumes: tuple[EphemeralVolumeConfig, ...] = Field(
        (), description="volumes that live as long as the pod"
    )
    empty_dirs: tuple[EmptyDirConfig, ...] = Field(
        (), description="empty folders, on disk or in memory"
    )
    shared_memory: str = Field(
        "", pattern=f"{_QUANTITY}|^$", description="size of /dev/shm, for example 2Gi"
    )

    def over(self, other: PodConfig) -> PodConfig:
        """Returns this with what another one sets: mappings and lists are joined."""
        merged: dict[str, Any] = {}
        for name in type(self).model_fields:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, dict):
                merged[name] = {**mine, **theirs}
            elif isinstance(mine, tuple):
                merged[name] = (*mine, *(entry for entry in theirs if entry not in mine))
            else:
                merged[name] = theirs or mine
        return PodConfig.model_validate(merged)

    def mount_paths(self) -> list[str]:
        """Returns every path at which something is mounted."""
        shared = ["/dev/shm"] if self.shared_memory else []
        mounts: tuple[Any, ...] = (
            *self.secrets, *self.config_maps, *self.volumes, *self.ephemeral_volumes,
            *self.empty_dirs,
        )  # fmt: skip
        return [*(mount.mount_path for mount in mounts if mount.mount_path), *shared]

    @field_validator("secrets", "config_maps", "volumes", "image_pull_secrets")
    @classmethod
    def _legal_names(cls, entries: tuple) -> tuple:
        for entry in entries:
            name = entry if isinstance(entry, str) else getattr(entry, "name", None) or entry.claim
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r}: lower-case letters, digits, '-' and '.' only")
        return entries

    @field_validator("ephemeral_volumes", "empty_dirs")
    @classmethod
    def _legal_volumes(cls, entries: tuple) -> tuple:
        for entry in entries:
            if not _VOLUME.fullmatch(entry.name):
                raise ValueError(
                    f"{entry.name!r}: lower-case letters, digits and '-' only, 63 at most"
                )
        return entries

    @model_validator(mode="after")
    def _one_mount_per_path(self) -> PodConfig:
        paths = sorted(self.mount_paths())
        twice = {first for first, second in pairwise(paths) if first == second}
        if twice:
            raise ValueError(f"two things are mounted at {', '.join(sorted(twice))}")
        return self
