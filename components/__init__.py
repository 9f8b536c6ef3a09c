"""Tessera's TFX components and the artifact types they exchange.

Artifact types are resolved on first use: `components.config` must load without
TensorFlow, while Kubeflow Pipelines looks the types up as `components.<Type>`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_ARTIFACT_TYPES = (
    "Blessing",
    "Bundle",
    "DataReport",
    "Evaluation",
    "PushedBundle",
    "RetrievalIndex",
    "Validation",
    "Verdict",
)


def __getattr__(name: str) -> Any:
    """Returns an artifact type by name (PEP 562)."""
    if name in _ARTIFACT_TYPES:
        return getattr(import_module("components.artifacts"), name)
    raise AttributeError(f"module 'components' has no attribute {name!r}")
