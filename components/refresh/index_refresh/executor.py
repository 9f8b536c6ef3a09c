"""TFX executor of the IndexRefresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.base import Artifacts, Properties, mark, only, uri
from components.config import IndexConfig
from components.example_gen.report import REPORT_FILE
from components.index_builder.executor import MARKED
from components.index_builder.executor import Executor as IndexBuilderExecutor
from components.index_builder.layout import INDEX_FILE, NEIGHBOURS_FILE
from components.refresh.index_refresh.keep import keep, same_index
from core.files import read_json
from trainer.config import RetrievalConfig


class Executor(IndexBuilderExecutor):
    """Keeps the published index, or builds a new one as the IndexBuilder does."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """See base class."""
        bundle = Path(uri(input_dict, "bundle"))
        report = Path(uri(input_dict, "report")) / REPORT_FILE
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
        index = only(output_dict, "index")
        summary = keep(bundle, Path(index.uri))
        mark(index, **{key: summary[key] for key in MARKED})

    def _published(self, input_dict: Artifacts) -> dict[str, Any]:
        bundle = Path(uri(input_dict, "bundle"))
        refit = bool(read_json(bundle / INDEX_FILE).get("refit"))
        return {"neighbours": str(bundle / NEIGHBOURS_FILE), "refit": refit}
