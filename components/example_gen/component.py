"""RetrievalExampleGen: the three tables become training examples."""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples

from components.artifacts import DataReport
from components.base import BeamComponent, channels, parameters
from components.example_gen.driver import Driver
from components.example_gen.executor import Executor


class RetrievalExampleGenSpec(ComponentSpec):
    """Interface of RetrievalExampleGen."""

    PARAMETERS = parameters(
        "data_root", "run_date", "config_json", "dead_letter_dir", "code_digest"
    )
    INPUTS: dict = {}
    OUTPUTS = channels(examples=Examples, report=DataReport)


class RetrievalExampleGen(BeamComponent):
    """Validates, joins and splits engagements, items and follows.

    Outputs `examples`, Parquet in the splits train, validation, eval and corpus, and
    `report`, counts and dead letters.

    Args:
      data_root: folder of the tables.
      run_date: last day of the window (`YYYY-MM-DD`); empty for one-shot tables.
      config_json: `ExampleGenConfig` as JSON.
      dead_letter_dir: where dead letters are kept when they stop the run.
      code_digest: digest of the code that decides the output.

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
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)
    DRIVER_CLASS = Driver
