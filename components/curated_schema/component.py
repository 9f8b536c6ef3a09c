"""The CuratedSchema component.

Unlike TFX's ImportSchemaGen it is given the schema itself, not a path: a path means
another file in every container, and TFX's cache would not see its content.
"""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Schema

from components.base import Component, channels, parameters
from components.curated_schema.executor import Executor


class CuratedSchemaSpec(ComponentSpec):
    """Output and parameter of CuratedSchema."""

    PARAMETERS = parameters("schema_text")
    INPUTS: dict = {}
    OUTPUTS = channels(schema=Schema)


class CuratedSchema(Component):
    """Writes a schema that people keep (`schemas/examples.pbtxt`) as a Schema artifact.

    Args:
      schema_text: a `tensorflow.metadata.v0.Schema` in text format.
    """

    SPEC_CLASS = CuratedSchemaSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
