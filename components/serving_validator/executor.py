"""TFX executor of the ServingValidator."""

from __future__ import annotations

from tfx.dsl.components.base import base_executor

from components.base import Artifacts, Properties, mark, only, uri
from components.config import ServingValidatorConfig
from components.serving_validator.validate import ValidatorPaths, validate


class Executor(base_executor.BaseExecutor):
    """Maps artifacts to paths and calls `validate`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """Validates the SavedModels of an index."""
        self._log_startup(input_dict, output_dict, exec_properties)
        validation = only(output_dict, "validation")
        result = validate(
            ValidatorPaths(
                index=uri(input_dict, "index"),
                examples=uri(input_dict, "examples"),
                validation=validation.uri,
            ),
            ServingValidatorConfig.from_json(exec_properties["config_json"]),
        )
        mark(validation, validated=result["validated"])
