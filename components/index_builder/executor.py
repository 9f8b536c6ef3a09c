"""TFX executor of the IndexBuilder."""

from __future__ import annotations

import os
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.utils import path_utils

from components.base import Artifacts, Properties, mark, only, uri
from components.config import IndexConfig
from components.index_builder.build import IndexPaths, build_index
from trainer.config import BEFORE_REFIT, RetrievalConfig

#: Parts of `index.json` that the artifact carries as properties.
MARKED = ("kind", "items", "recall_vs_exact")


class Executor(base_executor.BaseExecutor):
    """Maps artifacts to paths and calls `build_index`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """Builds the index."""
        self._log_startup(input_dict, output_dict, exec_properties)
        index, model = only(output_dict, "index"), uri(input_dict, "model")
        summary = build_index(
            IndexPaths(
                model=path_utils.serving_model_path(model),
                before_refit=os.path.join(model, BEFORE_REFIT),
                examples=uri(input_dict, "examples"),
                index=index.uri,
                **self._published(input_dict),
            ),
            IndexConfig.from_json(exec_properties["config_json"]),
            RetrievalConfig.from_json(exec_properties["retrieval_json"]),
        )
        mark(index, **{key: summary[key] for key in MARKED})

    def _published(self, input_dict: Artifacts) -> dict[str, Any]:
        """Returns what a refresh takes over from the published bundle (of `IndexPaths`)."""
        return {}
