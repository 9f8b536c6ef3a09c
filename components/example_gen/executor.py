"""Executor of RetrievalExampleGen."""

from __future__ import annotations

from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.base import Artifacts, Properties, mark, only
from components.config import ExampleGenConfig
from components.example_gen.ingest import ingest
from components.example_gen.places import shared_url
from components.example_gen.window import resolve
from trainer import features

EXAMPLES, REPORT = "examples", "report"


class Executor(BaseBeamExecutor):
    """Runs the join as a Beam pipeline and fills in the artifacts' properties."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """See base class."""
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = only(output_dict, EXAMPLES)
        report = only(output_dict, REPORT)
        config = ExampleGenConfig.from_json(exec_properties["config_json"])
        # The driver leaves these; where there is none (Kubeflow), they are found here.
        window = resolve(config, exec_properties)
        ingest(
            config,
            window,
            examples_uri=examples.uri,
            report_uri=report.uri,
            dead_letter_dir=exec_properties["dead_letter_dir"],
            make_pipeline=self._make_beam_pipeline,
            shared=shared_url(self._beam_pipeline_args),
        )
        examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
        examples.span = window.span
        # No file_format: TFX reads Parquet by payload format alone, and Transform writes
        # its own output in the format named here (absent: gzipped TFRecords).
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_PARQUET)
        for artifact in (examples, report):
            mark(artifact, fingerprint=window.fingerprint, run_date=window.run_date)
        # For the manifest: on Kubeflow only a parameter of the run says it.
        mark(examples, data_root=window.tables.root)
