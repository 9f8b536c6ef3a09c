"""TFX executor of the CatalogueGen."""

from __future__ import annotations

from pathlib import Path

from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.base import Artifacts, Properties, mark, only, uri
from components.refresh.catalogue_gen.config import CatalogueGenConfig
from components.refresh.catalogue_gen.generate import CataloguePaths, read_catalogue
from components.refresh.catalogue_gen.window import opened_window
from core.storage import local_or_url
from trainer import features


class Executor(base_executor.BaseExecutor):
    """Maps artifacts to paths and calls `read_catalogue`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """Reads the items table.

        The examples carry neither span nor fingerprint: those in a manifest say what a
        model was trained on.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = only(output_dict, "examples")
        report = only(output_dict, "report")
        config = CatalogueGenConfig.from_json(exec_properties["config_json"])
        with opened_window(config, exec_properties) as window:
            found = read_catalogue(
                config,
                window,
                CataloguePaths(
                    bundle=Path(uri(input_dict, "bundle")),
                    examples=Path(examples.uri),
                    report=Path(report.uri),
                    dead_letters=local_or_url(exec_properties["dead_letter_dir"]),
                ),
            )
        examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_PARQUET)
        mark(
            report,
            items_fingerprint=window.fingerprint,
            unchanged=found["catalogue"]["unchanged"],
        )
