"""What the gate looks at: anomalies that TFDV found, and the sizes of the splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.config import GateConfig
from core.errors import ConfigError
from trainer import features

#: Features of a target whose shares are compared between train and eval.
DRIFT_FEATURES = (features.ITEM_ID, features.ACTION)


def anomaly_reasons(
    split: str, anomalies: anomalies_pb2.Anomalies, ignored: tuple[str, ...]
) -> list[str]:
    """Returns one reason per feature (and per data set) that does not fit the schema.

    Args:
      split: the split's name, for the message.
      anomalies: what ExampleValidator or `tfdv.validate_statistics` found.
      ignored: names of features whose anomalies pass.
    """
    reasons = [
        f"{split}: feature {name}: {info.short_description or info.description}"
        + (f" ({info.description})" if info.short_description else "")
        for name, info in sorted(anomalies.anomaly_info.items())
        if name not in ignored
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        reasons.append(f"{split}: {anomalies.dataset_anomaly_info.description}")
    if anomalies.data_missing:
        reasons.append(f"{split}: no data at all")
    return reasons


def corpus_anomalies(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, schema_text: str
) -> Any:
    """Compares statistics of the corpus split with its curated schema.

    Raises:
      ConfigError: the schema is not one.
    """
    try:
        schema = text_format.Parse(schema_text, schema_pb2.Schema())
    except text_format.ParseError as error:
        raise ConfigError(f"corpus.pbtxt in schema_dir: not a schema: {error}") from error
    return tfdv.validate_statistics(statistics, schema)


def drift_reasons(
    before: statistics_pb2.DatasetFeatureStatisticsList,
    after: statistics_pb2.DatasetFeatureStatisticsList,
    max_distance: float,
) -> list[str]:
    """Returns one reason per feature whose values have other shares than before.

    Args:
      before: statistics of the training split, the earlier targets.
      after: statistics of the eval split, the latest targets.
      max_distance: largest difference allowed in the share of any value (L-infinity).
    """
    if not _examples(before) or not _examples(after):
        return []
    schema = schema_pb2.Schema()
    for name in DRIFT_FEATURES:
        feature = schema.feature.add(name=name, type=schema_pb2.BYTES)
        feature.drift_comparator.infinity_norm.threshold = max_distance
    found = tfdv.validate_statistics(after, schema, previous_statistics=before).anomaly_info
    return [
        f"{features.EVAL_SPLIT}: feature {name} drifted from {features.TRAIN_SPLIT}: "
        f"{reason.description}"
        for name in DRIFT_FEATURES
        for reason in found[name].reason
        if reason.type == anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH
    ]


def _examples(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> int:
    return sum(dataset.num_examples for dataset in statistics.datasets)


def size_reasons(report: Mapping[str, Any], config: GateConfig) -> list[str]:
    """Returns one reason per split that is empty or too small.

    Args:
      report: content of `data_report.json`.
      config: least sizes.
    """
    sizes = report["examples"]
    least = {
        features.TRAIN_SPLIT: ("min_train_examples", config.min_train_examples),
        features.VALIDATION_SPLIT: ("", 1),
        features.EVAL_SPLIT: ("min_eval_examples", config.min_eval_examples),
        features.CORPUS_SPLIT: ("min_items", config.min_items),
    }
    reasons = []
    for split, (key, bound) in least.items():
        size = int(sizes.get(split, 0))
        if size == 0:
            reasons.append(f"{split}: the split is empty{_why_empty(report)}")
        elif size < bound:
            reasons.append(f"{split}: {size} examples, gate.{key} asks for {bound}")
    return reasons


def _why_empty(report: Mapping[str, Any]) -> str:
    """Returns what is known about where the rows went."""
    if not report["events"]["total"]:
        return " (the engagements table has no rows)"
    dropped = ", ".join(f"{name} {count}" for name, count in report["dropped"].items())
    kept = (
        f" ({report['events']['positive']} of {report['events']['total']} engagements are positive"
    )
    return kept + (f"; dropped: {dropped})" if dropped else ")")
