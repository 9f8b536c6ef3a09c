"""DataGate: TFX alone reports anomalies but never stops for them."""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import ExampleAnomalies, ExampleStatistics, Schema

from components.artifacts import DataReport, Verdict
from components.base import Component, channels, parameters
from components.data_gate.executor import Executor


class DataGateSpec(ComponentSpec):
    """Interface of DataGate."""

    PARAMETERS = parameters("config_json", "corpus_schema", "code_digest")
    INPUTS = channels(
        statistics=ExampleStatistics, schema=Schema, anomalies=ExampleAnomalies, report=DataReport
    )
    OUTPUTS = channels(verdict=Verdict)


class DataGate(Component):
    """Fails on anomalies, an empty split or too few rows; otherwise writes a verdict.

    Whatever must not run on bad data is made to depend on it:
    `transform.add_upstream_node(gate)`.

    Args:
      statistics: `StatisticsGen` output of all splits.
      schema: the curated schema that `anomalies` refer to.
      anomalies: `ExampleValidator` output.
      report: `RetrievalExampleGen`'s data report.
      config_json: `GateConfig` as JSON.
      corpus_schema: curated schema of the corpus split, text of `schemas/corpus.pbtxt`.
      code_digest: digest of the code that decides the outcome.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
