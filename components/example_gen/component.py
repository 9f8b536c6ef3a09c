"""RetrievalExampleGen: the three tables become training examples."""

from __future__ import annotations

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import DataReport
from components.example_gen.driver import Driver
from components.example_gen.executor import Executor


class RetrievalExampleGenSpec(ComponentSpec):
    """Interface of RetrievalExampleGen."""

    PARAMETERS = {
        "data_root": ExecutionParameter(type=str),
        "run_date": ExecutionParameter(type=str),
        "config_json": ExecutionParameter(type=str),
        "dead_letter_dir": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS: dict = {}
    OUTPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "report": ChannelParameter(type=DataReport),
    }


class RetrievalExampleGen(base_beam_component.BaseBeamComponent):
    """Validates, joins and splits engagements, items and follows.

    Outputs `examples`, Parquet in the splits train, validation, eval and corpus, and
    `report`, counts and dead letters.

    Example:
      ```python
      example_gen = RetrievalExampleGen(
          data_root="data/demo",
          run_date="",
          config_json=ExampleGenConfig(data=DataConfig(root="data/demo")).canonical_json(),
          dead_letter_dir="runs/dead_letters",
          code_digest=code_digest(("core", "input_tables", "components")),
      )
      ```
    """

    SPEC_CLASS = RetrievalExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        *,
        data_root: str,
        run_date: str,
        config_json: str,
        dead_letter_dir: str,
        code_digest: str,
    ) -> None:
        """Builds the component.

        Args:
          data_root: folder of the tables.
          run_date: last day of the window (`YYYY-MM-DD`); empty for one-shot tables.
          config_json: `ExampleGenConfig` as JSON.
          dead_letter_dir: where dead letters are kept when they stop the run.
          code_digest: digest of the code that decides the output.
        """
        super().__init__(
            RetrievalExampleGenSpec(
                data_root=data_root,
                run_date=run_date,
                config_json=config_json,
                dead_letter_dir=dead_letter_dir,
                code_digest=code_digest,
                examples=channel_utils.as_channel([standard_artifacts.Examples()]),
                report=channel_utils.as_channel([DataReport()]),
            )
        )
