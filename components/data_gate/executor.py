"""Executor of DataGate."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.components.example_validator.executor import DEFAULT_FILE_NAME as ANOMALIES_FILE
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils

from components.base import Artifacts, Properties, mark, only, uri
from components.config import GateConfig
from components.data_gate.checks import (
    anomaly_reasons,
    corpus_anomalies,
    drift_reasons,
    size_reasons,
)
from components.example_gen.report import REPORT_FILE
from core.errors import DataGateError
from core.files import read_json, write_json
from trainer import features

_LOG = logging.getLogger("tessera")
Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList
VERDICT_FILE = "verdict.json"


class Executor(BaseExecutor):
    """Collects every reason against the data; any reason stops the pipeline."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """See base class."""
        self._log_startup(input_dict, output_dict, exec_properties)
        statistics = only(input_dict, "statistics")
        anomalies = only(input_dict, "anomalies")
        known = {
            split: stats_artifact_utils.load_statistics(statistics, split).proto()
            for split in artifact_utils.decode_split_names(statistics.split_names)
        }
        found = {
            split: read_anomalies(Path(artifact_utils.get_split_uri([anomalies], split)))
            for split in artifact_utils.decode_split_names(anomalies.split_names)
        }
        verdict = only(output_dict, "verdict")
        judge(
            GateConfig.from_json(exec_properties["config_json"]),
            report=read_json(Path(uri(input_dict, "report")) / REPORT_FILE),
            anomalies=found,
            corpus=known.get(features.CORPUS_SPLIT),
            corpus_schema=exec_properties["corpus_schema"],
            targets=(known.get(features.TRAIN_SPLIT), known.get(features.EVAL_SPLIT)),
            verdict_path=Path(verdict.uri) / VERDICT_FILE,
        )
        mark(verdict, passed=True)


def read_anomalies(folder: Path) -> anomalies_pb2.Anomalies:
    """Reads what ExampleValidator wrote for one split."""
    return anomalies_pb2.Anomalies.FromString((folder / ANOMALIES_FILE).read_bytes())


def judge(
    config: GateConfig,
    *,
    report: Mapping[str, Any],
    anomalies: Mapping[str, anomalies_pb2.Anomalies],
    corpus: Statistics | None,
    verdict_path: Path,
    corpus_schema: str = "",
    targets: tuple[Statistics | None, Statistics | None] = (None, None),
) -> None:
    """Passes or stops the run.

    Args:
      config: bounds, and which anomalies pass.
      report: content of `data_report.json`.
      anomalies: per split what ExampleValidator found.
      corpus: statistics of the corpus split, None when there are none.
      corpus_schema: curated schema of the corpus, text.
      verdict_path: where the verdict is written when the data passes.
      targets: statistics of the train and the eval split, compared for drift.

    Raises:
      DataGateError: lists every reason.
    """
    reasons = size_reasons(report, config)
    found = []
    for split, split_anomalies in anomalies.items():
        found += anomaly_reasons(split, split_anomalies, config.ignored_anomalies)
    if corpus is not None and report["examples"].get(features.CORPUS_SPLIT):
        found += anomaly_reasons(
            features.CORPUS_SPLIT,
            corpus_anomalies(corpus, corpus_schema),
            config.ignored_anomalies,
        )
    if config.fail_on_anomalies:
        reasons += found
    drifted = _drift(config, *targets)
    if config.drift_policy == "fail":
        reasons += drifted
    if reasons:
        raise DataGateError(
            f"the data gate stopped the run for {len(reasons)} reason(s); nothing was trained:\n  "
            + "\n  ".join(reasons)
        )
    for reason in drifted:
        _LOG.warning("%s (gate.drift_policy is warn: the run goes on)", reason)
    found += drifted
    write_json(verdict_path, {"passed": True, "reasons": [], "tolerated": found})
    sizes = ", ".join(f"{name} {count:,}" for name, count in report["examples"].items())
    _LOG.info("passed: %s; %d anomalies", sizes, len(found))


def _drift(config: GateConfig, before: Statistics | None, after: Statistics | None) -> list[str]:
    if config.drift_policy == "off" or before is None or after is None:
        return []
    return drift_reasons(before, after, config.drift_max_distance)
