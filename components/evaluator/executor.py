"""TFX executor of the RetrievalEvaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.config import EvaluatorConfig
from components.evaluator.evaluate import EvaluatorPaths, do


class Executor(base_executor.BaseExecutor):
    """Maps artifacts to paths and calls `evaluate.do`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates and blesses."""
        self._log_startup(input_dict, output_dict, exec_properties)
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        decision = do(
            EvaluatorPaths(
                examples=artifact_utils.get_single_uri(input_dict["examples"]),
                index=artifact_utils.get_single_uri(input_dict["index"]),
                baseline=_bundle(input_dict.get("baseline") or []),
                evaluation=artifact_utils.get_single_uri(output_dict["evaluation"]),
                blessing=blessing.uri,
            ),
            EvaluatorConfig.from_json(exec_properties["config_json"]),
        )
        blessing.set_int_custom_property("blessed", int(decision["blessed"]))


def _bundle(artifacts: list[types.Artifact]) -> str:
    """Returns the folder of the baseline's bundle, '' when none was found."""
    if not artifacts or not artifacts[0].get_int_custom_property("found"):
        return ""
    return str(Path(artifacts[0].uri) / "bundle")
