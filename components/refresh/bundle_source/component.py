"""The BundleSource component."""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Model

from components.artifacts import Blessing, Bundle, Evaluation
from components.base import Component, channels, parameters
from components.refresh.bundle_source.executor import Executor


class BundleSourceSpec(ComponentSpec):
    """Outputs and parameters of the BundleSource."""

    PARAMETERS = parameters("serving_dir", "name", "manifest_digest", "code_digest", version=int)
    INPUTS: dict = {}
    OUTPUTS = channels(model=Model, bundle=Bundle, evaluation=Evaluation, blessing=Blessing)


class BundleSource(Component):
    """Takes model, evaluation and sample requests out of one published bundle.

    Outputs `model` (as the Trainer writes it: `embed_user`, `embed_items` and the
    warm-start files), `bundle` (items, index summary, manifest and sample requests),
    `evaluation` (the published figures) and `blessing` (the published model was blessed).
    `manifest_digest` is part of the cache key: another bundle is never taken for this one.

    Args:
      serving_dir: where bundles are published.
      name: name of the model.
      version: the version to take.
      manifest_digest: `manifest_digest` of that version's manifest.
      code_digest: digest of the code, part of the cache key.
    """

    SPEC_CLASS = BundleSourceSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
