"""The CuratedSchema component.

Unlike TFX's ImportSchemaGen it is given the schema itself, not a path: a path means
another file in every container, and TFX's cache would not see its content.
"""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.curated_schema.executor import Executor


class CuratedSchemaSpec(ComponentSpec):
    """Output and parameter of CuratedSchema."""

    PARAMETERS = {"schema_text": ExecutionParameter(type=str)}
    INPUTS: dict = {}
    OUTPUTS = {"schema": ChannelParameter(type=standard_artifacts.Schema)}


class CuratedSchema(base_component.BaseComponent):
    """Writes a schema that people keep (`schemas/examples.pbtxt`) as a Schema artifact."""

    SPEC_CLASS = CuratedSchemaSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, schema_text: str) -> None:
        """Builds the component.

        Args:
          schema_text: a `tensorflow.metadata.v0.Schema` in text format.
        """
        super().__init__(
            CuratedSchemaSpec(
                schema_text=schema_text, schema=types.Channel(type=standard_artifacts.Schema)
            )
        )
