"""TFX executor of the IndexRefresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx import types
from tfx.types import artifact_utils

from components.config import IndexConfig
from components.example_gen.report import REPORT_FILE
from components.index_builder.executor import Executor as IndexBuilderExecutor
from components.refresh.index_refresh.keep import keep, same_index
from core.files import read_json
from trainer.config import RetrievalConfig


class Executor(IndexBuilderExecutor):
    """Keeps the published index, or builds a new one as the IndexBuilder does."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class."""
        bundle = Path(artifact_utils.get_single_uri(input_dict["bundle"]))
        report = Path(artifact_utils.get_single_uri(input_dict["report"])) / REPORT_FILE
        unchanged = same_index(
            bundle,
            read_json(report)["catalogue"],
            IndexConfig.from_json(exec_properties["config_json"]),
            RetrievalConfig.from_json(exec_properties["retrieval_json"]),
            exec_properties["published_code"],
        )
        if not unchanged:
            super().Do(input_dict, output_dict, exec_properties)
            return
        index = artifact_utils.get_single_instance(output_dict["index"])
        summary = keep(bundle, Path(index.uri))
        index.set_string_custom_property("kind", summary["kind"])
        index.set_int_custom_property("items", summary["items"])
        index.set_float_custom_property("recall_vs_exact", summary["recall_vs_exact"])
