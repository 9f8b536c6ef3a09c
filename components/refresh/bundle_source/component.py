"""The BundleSource component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Blessing, Bundle, Evaluation
from components.refresh.bundle_source.executor import Executor


class BundleSourceSpec(ComponentSpec):
    """Outputs and parameters of the BundleSource."""

    PARAMETERS = {
        "serving_dir": ExecutionParameter(type=str),
        "name": ExecutionParameter(type=str),
        "version": ExecutionParameter(type=int),
        "manifest_digest": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS: dict = {}
    OUTPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "bundle": ChannelParameter(type=Bundle),
        "evaluation": ChannelParameter(type=Evaluation),
        "blessing": ChannelParameter(type=Blessing),
    }


class BundleSource(base_component.BaseComponent):
    """Takes model, evaluation and sample requests out of one published bundle.

    Outputs `model` (as the Trainer writes it: `embed_user`, `embed_items` and the
    warm-start files), `bundle` (items, index summary, manifest and sample requests),
    `evaluation` (the published figures) and `blessing` (the published model was blessed).
    `manifest_digest` is part of the cache key: another bundle is never taken for this one.
    """

    SPEC_CLASS = BundleSourceSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self, serving_dir: str, name: str, version: int, manifest_digest: str, code_digest: str
    ) -> None:
        """Builds the node.

        Args:
          serving_dir: where bundles are published.
          name: name of the model.
          version: the version to take.
          manifest_digest: `manifest_digest` of that version's manifest.
          code_digest: digest of the code, part of the cache key.
        """
        spec = BundleSourceSpec(
            serving_dir=serving_dir,
            name=name,
            version=version,
            manifest_digest=manifest_digest,
            code_digest=code_digest,
            model=types.Channel(type=standard_artifacts.Model),
            bundle=types.Channel(type=Bundle),
            evaluation=types.Channel(type=Evaluation),
            blessing=types.Channel(type=Blessing),
        )
        super().__init__(spec=spec)
