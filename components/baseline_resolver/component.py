"""The BaselineResolver component.

A component of our own rather than TFX's Resolver: open-source Kubeflow
Pipelines refuses that one, and this one behaves alike everywhere.
"""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Bundle
from components.baseline_resolver.driver import Driver
from components.baseline_resolver.executor import Executor


class BaselineResolverSpec(ComponentSpec):
    """Inputs, outputs and parameters of the BaselineResolver."""

    PARAMETERS = {
        "serving_dir": ExecutionParameter(type=str),
        "name": ExecutionParameter(type=str),
        "training_digest": ExecutionParameter(type=str),
        "span": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {
        "baseline": ChannelParameter(type=Bundle),
        "model": ChannelParameter(type=standard_artifacts.Model),
    }


class BaselineResolver(base_component.BaseComponent):
    """Emits the served or newest valid bundle of an earlier span, to start from and compare with.

    Outputs `baseline` (custom properties `found` 0 or 1 and `version`; the bundle
    under `<uri>/bundle`) and `model` (its warm-start files, or a marker).
    """

    SPEC_CLASS = BaselineResolverSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        examples: types.BaseChannel,
        serving_dir: str,
        name: str,
        training_digest: str,
        code_digest: str,
        span: str = "",
    ) -> None:
        """Builds the node.

        Args:
          examples: the run's examples; carry the span.
          serving_dir: where bundles are published.
          name: name of the model.
          training_digest: configuration and code of this run, without the data.
          code_digest: digest of the code, part of the cache key.
          span: last day of the data, `YYYY-MM-DD`; '' takes it from `examples`.
        """
        spec = BaselineResolverSpec(
            examples=examples,
            serving_dir=serving_dir,
            name=name,
            training_digest=training_digest,
            span=span,
            code_digest=code_digest,
            baseline=types.Channel(type=Bundle),
            model=types.Channel(type=standard_artifacts.Model),
        )
        super().__init__(spec=spec)
