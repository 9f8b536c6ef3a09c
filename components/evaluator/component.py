"""The RetrievalEvaluator component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Blessing, Bundle, Evaluation, RetrievalIndex
from components.evaluator.executor import Executor


class RetrievalEvaluatorSpec(ComponentSpec):
    """Inputs, outputs and parameters of the RetrievalEvaluator."""

    PARAMETERS = {
        "config_json": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "index": ChannelParameter(type=RetrievalIndex),
        "baseline": ChannelParameter(type=Bundle, optional=True),
    }
    OUTPUTS = {
        "evaluation": ChannelParameter(type=Evaluation),
        "blessing": ChannelParameter(type=Blessing),
    }


class RetrievalEvaluator(base_component.BaseComponent):
    """Measures a retriever as it is served and decides whether it may be published.

    The `blessing` artifact carries `blessed` (0 or 1) as a custom property and
    each verdict with its reason in `blessing.json`.

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
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        index: types.BaseChannel,
        config_json: str,
        code_digest: str,
        baseline: types.BaseChannel | None = None,
    ) -> None:
        """Builds the node.

        Args:
          examples: raw examples; `eval` is replayed, the floors learn from `train`.
          index: the RetrievalIndex to judge.
          config_json: a `components.config.EvaluatorConfig`.
          code_digest: digest of the code, part of the cache key.
          baseline: the published bundle to compare with.
        """
        spec = RetrievalEvaluatorSpec(
            examples=examples,
            index=index,
            config_json=config_json,
            code_digest=code_digest,
            baseline=baseline,
            evaluation=types.Channel(type=Evaluation),
            blessing=types.Channel(type=Blessing),
        )
        super().__init__(spec=spec)
