"""The IndexBuilder component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import RetrievalIndex
from components.index_builder.executor import Executor


class IndexBuilderSpec(ComponentSpec):
    """Inputs, outputs and parameters of the IndexBuilder."""

    PARAMETERS = {
        "config_json": ExecutionParameter(type=str),
        "retrieval_json": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"index": ChannelParameter(type=RetrievalIndex)}


class IndexBuilder(base_component.BaseComponent):
    """Embeds the catalogue and writes the retrievers that are evaluated and served.

    The output artifact carries `kind`, `items` and `recall_vs_exact` as custom
    properties; `index.json` says how they came about.

    Example:
      ```
      builder = IndexBuilder(
          model=trainer.outputs["model"],
          examples=example_gen.outputs["examples"],
          config_json=IndexConfig().canonical_json(),
          retrieval_json=RetrievalConfig().canonical_json(),
          code_digest=code_digest(("core", "trainer", "components")),
      )
      ```
    """

    SPEC_CLASS = IndexBuilderSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        config_json: str,
        retrieval_json: str,
        code_digest: str,
    ) -> None:
        """Builds the node.

        Args:
          model: a Model with `embed_user` and `embed_items`.
          examples: raw examples; items from `corpus`, queries from `validation`.
          config_json: a `components.config.IndexConfig`.
          retrieval_json: a `trainer.config.RetrievalConfig`.
          code_digest: digest of the code, part of the cache key.
        """
        spec = IndexBuilderSpec(
            model=model,
            examples=examples,
            config_json=config_json,
            retrieval_json=retrieval_json,
            code_digest=code_digest,
            index=types.Channel(type=RetrievalIndex),
        )
        super().__init__(spec=spec)
