"""The BaselineResolver component.

A component of our own rather than TFX's Resolver: open-source Kubeflow
Pipelines refuses that one, and this one behaves alike everywhere.
"""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples, Model

from components.artifacts import Bundle
from components.base import Component, channels, parameters
from components.baseline_resolver.driver import Driver
from components.baseline_resolver.executor import Executor


class BaselineResolverSpec(ComponentSpec):
    """Inputs, outputs and parameters of the BaselineResolver."""

    PARAMETERS = parameters("serving_dir", "name", "training_digest", "span", "code_digest")
    INPUTS = channels(examples=Examples)
    OUTPUTS = channels(baseline=Bundle, model=Model)


class BaselineResolver(Component):
    """Emits the served or newest valid bundle of an earlier span, to start from and compare with.

    Outputs `baseline` (custom properties `found` 0 or 1 and `version`; the bundle
    under `<uri>/bundle`) and `model` (its warm-start files, or a marker).

    Args:
      examples: the run's examples; carry the span.
      serving_dir: where bundles are published.
      name: name of the model.
      training_digest: configuration and code of this run, without the data.
      code_digest: digest of the code, part of the cache key.
      span: last day of the data, `YYYY-MM-DD`; '' (the default) takes it from `examples`.
    """

    SPEC_CLASS = BaselineResolverSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
    DRIVER_CLASS = Driver
    DEFAULTS = {"span": ""}
