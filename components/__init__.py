"""Tessera's TFX components and the artifact types they exchange."""

from components.artifacts import (
    Blessing,
    Bundle,
    DataReport,
    Evaluation,
    PushedBundle,
    RetrievalIndex,
    Verdict,
)

__all__ = [
    "Blessing",
    "Bundle",
    "DataReport",
    "Evaluation",
    "PushedBundle",
    "RetrievalIndex",
    "Verdict",
]
