"""TFX executor of the IndexBuilder."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.config import IndexConfig
from components.index_builder.build import IndexPaths, do
from trainer.config import RetrievalConfig


class Executor(base_executor.BaseExecutor):
    """Maps artifacts to paths and calls `build.do`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Builds the index."""
        self._log_startup(input_dict, output_dict, exec_properties)
        index = artifact_utils.get_single_instance(output_dict["index"])
        summary = do(
            IndexPaths(
                model=path_utils.serving_model_path(
                    artifact_utils.get_single_uri(input_dict["model"])
                ),
                examples=artifact_utils.get_single_uri(input_dict["examples"]),
                index=index.uri,
            ),
            IndexConfig.from_json(exec_properties["config_json"]),
            RetrievalConfig.from_json(exec_properties["retrieval_json"]),
        )
        index.set_string_custom_property("kind", summary["kind"])
        index.set_int_custom_property("items", summary["items"])
        index.set_float_custom_property("recall_vs_exact", summary["recall_vs_exact"])
