"""DataGate: TFX alone reports anomalies but never stops for them."""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import DataReport, Verdict
from components.data_gate.executor import Executor


class DataGateSpec(ComponentSpec):
    """Interface of DataGate."""

    PARAMETERS = {
        "config_json": ExecutionParameter(type=str),
        "corpus_schema": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS = {
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "report": ChannelParameter(type=DataReport),
    }
    OUTPUTS = {"verdict": ChannelParameter(type=Verdict)}


class DataGate(base_component.BaseComponent):
    """Fails on anomalies, an empty split or too few rows; otherwise writes a verdict.

    Whatever must not run on bad data is made to depend on it:
    `transform.add_upstream_node(gate)`.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        *,
        statistics: channel.BaseChannel,
        schema: channel.BaseChannel,
        anomalies: channel.BaseChannel,
        report: channel.BaseChannel,
        config_json: str,
        corpus_schema: str,
        code_digest: str,
    ) -> None:
        """Builds the component.

        Args:
          statistics: `StatisticsGen` output of all splits.
          schema: the curated schema that `anomalies` refer to.
          anomalies: `ExampleValidator` output.
          report: `RetrievalExampleGen`'s data report.
          config_json: `GateConfig` as JSON.
          corpus_schema: curated schema of the corpus split, text of `schemas/corpus.pbtxt`.
          code_digest: digest of the code that decides the outcome.
        """
        super().__init__(
            DataGateSpec(
                statistics=statistics,
                schema=schema,
                anomalies=anomalies,
                report=report,
                config_json=config_json,
                corpus_schema=corpus_schema,
                code_digest=code_digest,
                verdict=channel_utils.as_channel([Verdict()]),
            )
        )
