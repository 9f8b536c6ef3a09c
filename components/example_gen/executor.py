"""Executor of RetrievalExampleGen."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.config import ExampleGenConfig
from components.example_gen.ingest import do
from components.example_gen.window import opened_window
from trainer import features

EXAMPLES, REPORT = "examples", "report"


class Executor(BaseBeamExecutor):
    """Runs the join as a Beam pipeline and fills in the artifacts' properties."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class."""
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES])
        report = artifact_utils.get_single_instance(output_dict[REPORT])
        config = ExampleGenConfig.from_json(exec_properties["config_json"])
        # The driver leaves these; where there is none (Kubeflow), they are found here.
        with opened_window(config, exec_properties) as window:
            do(
                config,
                window,
                examples_uri=examples.uri,
                report_uri=report.uri,
                dead_letter_dir=exec_properties["dead_letter_dir"],
                make_pipeline=self._make_beam_pipeline,
            )
        examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
        examples.span = window.span
        # No file_format: TFX reads Parquet by payload format alone, and Transform writes
        # its own output in the format named here (absent: gzipped TFRecords).
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_PARQUET)
        for artifact in (examples, report):
            artifact.set_string_custom_property("fingerprint", window.fingerprint)
            artifact.set_string_custom_property("run_date", window.run_date)
        # For the manifest: on Kubeflow only a parameter of the run says it.
        examples.set_string_custom_property("data_root", window.tables.root)
