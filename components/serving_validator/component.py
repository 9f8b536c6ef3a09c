"""The ServingValidator component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import RetrievalIndex, Validation
from components.serving_validator.driver import Driver
from components.serving_validator.executor import Executor


class ServingValidatorSpec(ComponentSpec):
    """Inputs, outputs and parameters of the ServingValidator."""

    PARAMETERS = {
        "config_json": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS = {
        "index": ChannelParameter(type=RetrievalIndex),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"validation": ChannelParameter(type=Validation)}


class ServingValidator(base_component.BaseComponent):
    """Loads an index's SavedModels as TensorFlow Serving does and replays real requests.

    The `validation` artifact carries `validated` (0 or 1) as a custom property, each
    verdict with its reason in `validation.json`, and in `bundle/` the files that a
    published bundle gains: warm-up requests, a sample of requests and the verdicts.

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
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        index: types.BaseChannel,
        examples: types.BaseChannel,
        config_json: str,
        code_digest: str,
    ) -> None:
        """Builds the node.

        Args:
          index: the RetrievalIndex to validate.
          examples: raw examples; requests come from `eval`, else from `validation`.
          config_json: a `components.config.ServingValidatorConfig`.
          code_digest: digest of the code, part of the cache key.
        """
        spec = ServingValidatorSpec(
            index=index,
            examples=examples,
            config_json=config_json,
            code_digest=code_digest,
            validation=types.Channel(type=Validation),
        )
        super().__init__(spec=spec)
