"""TFX executor of the ServingValidator."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.config import ServingValidatorConfig
from components.serving_validator.validate import ValidatorPaths, do


class Executor(base_executor.BaseExecutor):
    """Maps artifacts to paths and calls `validate.do`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Validates the SavedModels of an index."""
        self._log_startup(input_dict, output_dict, exec_properties)
        validation = artifact_utils.get_single_instance(output_dict["validation"])
        result = do(
            ValidatorPaths(
                index=artifact_utils.get_single_uri(input_dict["index"]),
                examples=artifact_utils.get_single_uri(input_dict["examples"]),
                validation=validation.uri,
            ),
            ServingValidatorConfig.from_json(exec_properties["config_json"]),
        )
        validation.set_int_custom_property("validated", int(result["validated"]))
