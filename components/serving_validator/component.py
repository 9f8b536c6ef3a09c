"""The ServingValidator component."""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples

from components.artifacts import RetrievalIndex, Validation
from components.base import Component, channels, parameters
from components.serving_validator.driver import Driver
from components.serving_validator.executor import Executor


class ServingValidatorSpec(ComponentSpec):
    """Inputs, outputs and parameters of the ServingValidator."""

    PARAMETERS = parameters("config_json", "code_digest")
    INPUTS = channels(index=RetrievalIndex, examples=Examples)
    OUTPUTS = channels(validation=Validation)


class ServingValidator(Component):
    """Loads an index's SavedModels as TensorFlow Serving does and replays real requests.

    The `validation` artifact carries `validated` (0 or 1) as a custom property, each
    verdict with its reason in `validation.json`, and in `bundle/` the files that a
    published bundle gains: warm-up requests, a sample of requests and the verdicts.

    Args:
      index: the RetrievalIndex to validate.
      examples: raw examples; requests come from `eval`, else from `validation`.
      config_json: a `components.config.ServingValidatorConfig`.
      code_digest: digest of the code, part of the cache key.

    Example:
      ```
      validator = ServingValidator(
          index=index_builder.outputs["index"],
          examples=example_gen.outputs["examples"],
          config_json=ServingValidatorConfig().canonical_json(),
          code_digest=code_digest(("core", "trainer", "components")),
      )
      ```
    """

    SPEC_CLASS = ServingValidatorSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
    DRIVER_CLASS = Driver
