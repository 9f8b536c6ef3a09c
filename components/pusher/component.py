"""The Pusher component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import (
    Blessing,
    Bundle,
    DataReport,
    Evaluation,
    PushedBundle,
    RetrievalIndex,
    Validation,
)
from components.pusher.driver import Driver
from components.pusher.executor import Executor


class PusherSpec(ComponentSpec):
    """Inputs, outputs and parameters of the Pusher."""

    PARAMETERS = {
        "serving_dir": ExecutionParameter(type=str),
        "name": ExecutionParameter(type=str),
        "config_json": ExecutionParameter(type=str),
        "manifest_json": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS = {
        "index": ChannelParameter(type=RetrievalIndex),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "evaluation": ChannelParameter(type=Evaluation),
        "blessing": ChannelParameter(type=Blessing),
        "validation": ChannelParameter(type=Validation),
        "examples": ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "report": ChannelParameter(type=DataReport, optional=True),
        "baseline": ChannelParameter(type=Bundle, optional=True),
    }
    OUTPUTS = {"pushed": ChannelParameter(type=PushedBundle)}


class Pusher(base_component.BaseComponent):
    """Publishes a blessed and validated retriever as a new version of a bundle.

    The output artifact carries `pushed` (0 or 1), `pushed_version`,
    `pushed_destination` and `reason` as custom properties.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        index: types.BaseChannel,
        model: types.BaseChannel,
        evaluation: types.BaseChannel,
        blessing: types.BaseChannel,
        validation: types.BaseChannel,
        serving_dir: str,
        name: str,
        config_json: str,
        manifest_json: str,
        code_digest: str,
        examples: types.BaseChannel | None = None,
        report: types.BaseChannel | None = None,
        baseline: types.BaseChannel | None = None,
    ) -> None:
        """Builds the node.

        Args:
          index: the RetrievalIndex to publish.
          model: the trained Model, whose warm-start files are published too.
          evaluation: figures for the manifest.
          blessing: the evaluator's decision; nothing is published without it.
          validation: the serving validator's; likewise. What it adds goes into the bundle.
          serving_dir: bundles go to `<serving_dir>/<name>/<version>`.
          name: name of the model.
          config_json: a `components.config.PusherConfig`.
          manifest_json: a `components.pusher.push.ManifestFields`.
          code_digest: digest of the code, part of the cache key.
          examples: optional; span and data fingerprint go into the manifest.
          report: optional; the same, where the examples do not carry them.
          baseline: optional; its version goes into the manifest.
        """
        optional = {"examples": examples, "report": report, "baseline": baseline}
        spec = PusherSpec(
            index=index,
            model=model,
            evaluation=evaluation,
            blessing=blessing,
            validation=validation,
            serving_dir=serving_dir,
            name=name,
            config_json=config_json,
            manifest_json=manifest_json,
            code_digest=code_digest,
            pushed=types.Channel(type=PushedBundle),
            **{key: channel for key, channel in optional.items() if channel is not None},
        )
        super().__init__(spec=spec)
