"""TFX executor of the CatalogueGen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.refresh.catalogue_gen.config import CatalogueGenConfig
from components.refresh.catalogue_gen.generate import CataloguePaths, do
from components.refresh.catalogue_gen.window import opened_window
from core.storage import local_or_url
from trainer import features


class Executor(base_executor.BaseExecutor):
    """Maps artifacts to paths and calls `generate.do`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Reads the items table.

        The examples carry neither span nor fingerprint: those in a manifest say what a
        model was trained on.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        report = artifact_utils.get_single_instance(output_dict["report"])
        config = CatalogueGenConfig.from_json(exec_properties["config_json"])
        with opened_window(config, exec_properties) as window:
            found = do(
                config,
                window,
                CataloguePaths(
                    bundle=Path(artifact_utils.get_single_uri(input_dict["bundle"])),
                    examples=Path(examples.uri),
                    report=Path(report.uri),
                    dead_letters=local_or_url(exec_properties["dead_letter_dir"]),
                ),
            )
        examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_PARQUET)
        report.set_string_custom_property("items_fingerprint", window.fingerprint)
        report.set_int_custom_property("unchanged", int(found["catalogue"]["unchanged"]))
