"""The IndexBuilder component."""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples, Model

from components.artifacts import RetrievalIndex
from components.base import Component, channels, parameters
from components.index_builder.executor import Executor


class IndexBuilderSpec(ComponentSpec):
    """Inputs, outputs and parameters of the IndexBuilder."""

    PARAMETERS = parameters("config_json", "retrieval_json", "code_digest")
    INPUTS = channels(model=Model, examples=Examples)
    OUTPUTS = channels(index=RetrievalIndex)


class IndexBuilder(Component):
    """Embeds the catalogue and writes the retrievers that are evaluated and served.

    The output artifact carries `kind`, `items` and `recall_vs_exact` as custom
    properties; `index.json` says how they came about.

    Args:
      model: a Model with `embed_user` and `embed_items`.
      examples: raw examples; items from `corpus`, queries from `validation`.
      config_json: a `components.config.IndexConfig`.
      retrieval_json: a `trainer.config.RetrievalConfig`.
      code_digest: digest of the code, part of the cache key.

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
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
