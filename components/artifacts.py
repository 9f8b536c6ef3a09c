"""Custom artifact types.

`TYPE_NAME` is the import path of each class (exported from `components`), the
form that Kubeflow Pipelines accepts; the types carry custom properties only.
"""

from __future__ import annotations

from tfx.types import artifact


class DataReport(artifact.Artifact):
    """Counts of one ingestion (`data_report.json`) and its dead letters."""

    TYPE_NAME = "components.DataReport"


class Verdict(artifact.Artifact):
    """What a gate decided (`verdict.json`)."""

    TYPE_NAME = "components.Verdict"


class RetrievalIndex(artifact.Artifact):
    """Retriever SavedModels, native index, item table and `index.json`."""

    TYPE_NAME = "components.RetrievalIndex"


class Evaluation(artifact.Artifact):
    """Metrics, slices and floors (`evaluation.json`)."""

    TYPE_NAME = "components.Evaluation"


class Blessing(artifact.Artifact):
    """Whether a retriever may be published (`blessing.json`, `BLESSED` or `NOT_BLESSED`)."""

    TYPE_NAME = "components.Blessing"


class Bundle(artifact.Artifact):
    """The published bundle that a run starts from and is compared with."""

    TYPE_NAME = "components.Bundle"


class Validation(artifact.Artifact):
    """Whether an index's SavedModels serve (`validation.json`) and `bundle/`, what a bundle gains.

    The custom property `validated` is 1 or 0. The Pusher adds every file of `bundle/` to
    the bundle it publishes, at the same relative path.
    """

    TYPE_NAME = "components.Validation"


class PushedBundle(artifact.Artifact):
    """Where a bundle was published."""

    TYPE_NAME = "components.PushedBundle"
