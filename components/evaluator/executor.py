"""TFX executor of the RetrievalEvaluator."""

from __future__ import annotations

from pathlib import Path

from tfx.dsl.components.base import base_executor

from components.base import Artifacts, Properties, mark, only, uri
from components.config import EvaluatorConfig
from components.evaluator.evaluate import EvaluatorPaths, evaluate


class Executor(base_executor.BaseExecutor):
    """Maps artifacts to paths and calls `evaluate`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """Evaluates and blesses."""
        self._log_startup(input_dict, output_dict, exec_properties)
        blessing = only(output_dict, "blessing")
        decision = evaluate(
            EvaluatorPaths(
                examples=uri(input_dict, "examples"),
                index=uri(input_dict, "index"),
                baseline=_bundle(input_dict),
                evaluation=uri(output_dict, "evaluation"),
                blessing=blessing.uri,
            ),
            EvaluatorConfig.from_json(exec_properties["config_json"]),
        )
        mark(blessing, blessed=decision["blessed"])


def _bundle(input_dict: Artifacts) -> str:
    """Returns the folder of the baseline's bundle, '' when none was found."""
    for artifact in input_dict.get("baseline", []):
        if artifact.get_int_custom_property("found"):
            return str(Path(artifact.uri) / "bundle")
    return ""
