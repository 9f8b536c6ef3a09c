"""The RetrievalEvaluator component."""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples

from components.artifacts import Blessing, Bundle, Evaluation, RetrievalIndex
from components.base import Component, channels, parameters
from components.evaluator.executor import Executor


class RetrievalEvaluatorSpec(ComponentSpec):
    """Inputs, outputs and parameters of the RetrievalEvaluator."""

    PARAMETERS = parameters("config_json", "code_digest")
    INPUTS = {
        **channels(examples=Examples, index=RetrievalIndex),
        **channels(baseline=Bundle, optional=True),
    }
    OUTPUTS = channels(evaluation=Evaluation, blessing=Blessing)


class RetrievalEvaluator(Component):
    """Measures a retriever as it is served and decides whether it may be published.

    The `blessing` artifact carries `blessed` (0 or 1) as a custom property and
    each verdict with its reason in `blessing.json`.

    Args:
      examples: raw examples; `eval` is replayed, the floors learn from `train`.
      index: the RetrievalIndex to judge.
      config_json: a `components.config.EvaluatorConfig`.
      code_digest: digest of the code, part of the cache key.
      baseline: optional; the published bundle to compare with.

    Example:
      ```
      evaluator = RetrievalEvaluator(
          examples=example_gen.outputs["examples"],
          index=index_builder.outputs["index"],
          baseline=resolver.outputs["baseline"],
          config_json=EvaluatorConfig().canonical_json(),
          code_digest=code_digest(("core", "trainer", "components")),
      )
      ```
    """

    SPEC_CLASS = RetrievalEvaluatorSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
