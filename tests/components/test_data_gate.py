"""The gate: TFX goes on with an empty day or with anomalies, Tessera does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

import schemas
from components.config import GateConfig
from components.data_gate.executor import judge
from components.example_gen.columns import EXAMPLE_SCHEMA
from components.examples_io import read_split
from core.errors import ConfigError, DataGateError
from core.files import read_json
from tests.components.example_gen_oracle import Event, Rules
from tests.components.example_gen_tables import config_for, ingest, write_tables
from trainer import features

EVENTS = [Event(f"u{k % 9}", f"i{k % 20}", k, "like") for k in range(200)]
ITEMS = {f"i{k}": ["t"] for k in range(20)}
RULES = Rules(repeats="keep")
CORPUS_SCHEMA = (Path(schemas.__file__).parent / "corpus.pbtxt").read_text()
LOOSE = GateConfig(min_train_examples=1, min_eval_examples=1, min_items=1)


def _statistics(out: Path, split: str) -> Any:
    batches = list(read_split(str(out / "examples"), split))
    return tfdv.generate_statistics_from_dataframe(_frame(batches))


def _frame(batches: list[Any]) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches(batches, schema=EXAMPLE_SCHEMA).to_pandas()


def _validated(out: Path, split: str) -> anomalies_pb2.Anomalies:
    path = Path(schemas.__file__).parent / "examples.pbtxt"
    return tfdv.validate_statistics(_statistics(out, split), tfdv.load_schema_text(str(path)))


def _report(**sizes: int) -> dict[str, Any]:
    return {
        "examples": {"train": 100, "validation": 10, "eval": 10, "corpus": 20} | sizes,
        "events": {"total": 130, "positive": 120},
        "dropped": {"target_repeats_item": 7},
    }


def _gate(path: Path, config: GateConfig = LOOSE, **given: Any) -> dict[str, Any]:
    arguments = {"report": _report(), "anomalies": {}, "corpus": None} | given
    arguments.setdefault("corpus_schema", CORPUS_SCHEMA)
    judge(config, **arguments, verdict_path=path / "verdict.json")
    return read_json(path / "verdict.json")


def test_generated_examples_fit_both_curated_schemas(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", EVENTS, ITEMS)
    report = ingest(config_for(root, RULES), tmp_path)
    verdict = _gate(
        tmp_path,
        report=report,
        anomalies={split: _validated(tmp_path, split) for split in ("train", "eval")},
        corpus=_statistics(tmp_path, features.CORPUS_SPLIT),
    )
    assert verdict == {"passed": True, "reasons": [], "tolerated": []}


def test_the_corpus_is_held_against_the_schema_that_the_run_names(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", EVENTS, ITEMS)
    ingest(config_for(root, RULES), tmp_path)
    corpus = _statistics(tmp_path, features.CORPUS_SPLIT)
    narrow = CORPUS_SCHEMA.replace("item_topics", "item_colours")
    with pytest.raises(DataGateError, match="corpus: feature item_topics"):
        _gate(tmp_path, corpus=corpus, corpus_schema=narrow)
    with pytest.raises(ConfigError, match="not a schema"):
        _gate(tmp_path, corpus=corpus, corpus_schema="feature {")


@pytest.mark.fault(6)
def test_a_log_of_bad_rows_only_stops_with_the_cause(tmp_path: Path) -> None:
    report = _report(train=0) | {"events": {"total": 0, "positive": 0}}
    with pytest.raises(DataGateError, match="engagements table has no rows"):
        _gate(tmp_path, report=report)
    assert not (tmp_path / "verdict.json").exists()


@pytest.mark.fault(20)
@pytest.mark.parametrize("split", ["train", "validation", "eval", "corpus"])
def test_an_empty_split_stops(tmp_path: Path, split: str) -> None:
    with pytest.raises(DataGateError, match=f"{split}: the split is empty .*repeats_item 7"):
        _gate(tmp_path, report=_report(**{split: 0}))


def test_too_few_rows_stop_and_every_reason_is_listed(tmp_path: Path) -> None:
    with pytest.raises(DataGateError) as caught:
        _gate(tmp_path, GateConfig(), report=_report(train=3, eval=2, corpus=1))
    message = str(caught.value)
    assert "3 reason(s)" in message
    for text in ("train: 3", "min_train_examples asks for 100", "eval: 2", "corpus: 1"):
        assert text in message


ANOMALIES = text_format.Parse(
    """
    anomaly_info { key: "action" value {
      short_description: "Out-of-range values" description: "more than one" } }
    """,
    anomalies_pb2.Anomalies(),
)


def test_an_anomaly_stops_and_names_the_feature(tmp_path: Path) -> None:
    with pytest.raises(DataGateError, match="eval: feature action: Out-of-range values"):
        _gate(tmp_path, anomalies={"eval": ANOMALIES})


def test_anomalies_can_be_tolerated(tmp_path: Path) -> None:
    ignoring = LOOSE.model_copy(update={"ignored_anomalies": ("action",)})
    assert _gate(tmp_path, ignoring, anomalies={"eval": ANOMALIES})["tolerated"] == []
    tolerant = LOOSE.model_copy(update={"fail_on_anomalies": False})
    assert len(_gate(tmp_path, tolerant, anomalies={"eval": ANOMALIES})["tolerated"]) == 1


def test_a_drift_comparator_in_the_schema_stops_the_run(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", EVENTS, ITEMS)
    ingest(config_for(root, RULES), tmp_path / "before")
    changed = [event._replace(action="hide") for event in EVENTS]
    root = write_tables(tmp_path / "data", changed, ITEMS)
    ingest(config_for(root, RULES), tmp_path / "after")
    schema = schema_pb2.Schema()
    action = schema.feature.add(name="action", type=schema_pb2.BYTES)
    action.drift_comparator.infinity_norm.threshold = 0.1
    found = tfdv.validate_statistics(
        _statistics(tmp_path / "after", "train"),
        schema,
        previous_statistics=_statistics(tmp_path / "before", "train"),
    )
    with pytest.raises(DataGateError, match="feature action: High Linfty distance"):
        _gate(tmp_path, anomalies={"train": found})
