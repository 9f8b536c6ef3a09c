"""Faults 20, 21 and 22: an empty eval split, a schema that lacks a feature, drift."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv

import schemas
from components.config import GateConfig
from components.data_gate.executor import judge
from components.example_gen.columns import EXAMPLE_SCHEMA
from components.examples_io import read_split
from core.errors import DataGateError
from core.files import read_json
from tests.components.example_gen_oracle import DAY, Event, Rules
from tests.components.example_gen_tables import config_for, ingest, write_tables
from trainer import features

LOOSE = GateConfig(min_train_examples=1, min_eval_examples=1, min_items=1)
START = 19_700 * DAY  # December 2023
ITEMS = {f"i{k}": ["t"] for k in range(10)}
SCHEMA = Path(schemas.__file__).parent / "examples.pbtxt"


def statistics_of(out: Path, split: str) -> Any:
    table = pa.Table.from_batches(read_split(str(out / "examples"), split), EXAMPLE_SCHEMA)
    return tfdv.generate_statistics_from_dataframe(table.to_pandas())


def gate(out: Path, report: dict, config: GateConfig = LOOSE, **given: Any) -> dict[str, Any]:
    """The gate on what ExampleGen wrote; returns the verdict that it wrote."""
    verdict = out / "verdict.json"
    verdict.unlink(missing_ok=True)
    try:
        judge(
            config,
            **{"report": report, "anomalies": {}, "corpus": None} | given,
            verdict_path=verdict,
        )
    except DataGateError:
        assert not verdict.exists()
        raise
    return read_json(verdict)


@pytest.mark.fault(20)
def test_a_log_without_a_second_target_per_user_has_no_eval_split_and_stops(tmp_path):
    events = [Event(f"u{k}", f"i{k % 10}", k, "like") for k in range(60)]
    root = write_tables(tmp_path / "data", events, ITEMS)
    report = ingest(config_for(root, Rules()), tmp_path)
    assert report["examples"]["train"] == 60
    with pytest.raises(DataGateError) as caught:
        gate(tmp_path, report)
    message = str(caught.value)
    assert "eval: the split is empty (60 of 60 engagements are positive" in message
    assert "nothing was trained" in message


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> tuple[Path, dict]:
    """Examples of an even log, and their report."""
    out = tmp_path_factory.mktemp("plain")
    events = [Event(f"u{k % 8}", f"i{k % 10}", k, "like") for k in range(160)]
    root = write_tables(out / "data", events, ITEMS)
    return out, ingest(config_for(root, Rules(repeats="keep")), out)


@pytest.mark.fault(21)
@pytest.mark.parametrize("lacking", features.RAW_FEATURES)
def test_a_schema_that_lacks_a_training_feature_stops_the_run(plain, lacking):
    out, report = plain
    schema = tfdv.load_schema_text(str(SCHEMA))
    kept = [feature for feature in schema.feature if feature.name != lacking]
    del schema.feature[:]
    schema.feature.extend(kept)
    found = tfdv.validate_statistics(statistics_of(out, "train"), schema)
    with pytest.raises(DataGateError, match=f"train: feature {lacking}: New column"):
        gate(out, report, anomalies={"train": found})


@pytest.mark.fault(21)
def test_an_example_that_lacks_a_feature_of_the_schema_stops_the_run(plain):
    out, report = plain
    table = pa.Table.from_batches(read_split(str(out / "examples"), "train"))
    lacking = tfdv.generate_statistics_from_dataframe(table.drop([features.ITEM_ID]).to_pandas())
    found = tfdv.validate_statistics(lacking, tfdv.load_schema_text(str(SCHEMA)))
    with pytest.raises(DataGateError, match="train: feature item_id: Column dropped"):
        gate(out, report, anomalies={"train": found})


def targets(popular_then: int, popular_now: int, action: str = "like") -> list[Event]:
    """Ten days of many users; most of a day's engagements are with one item."""
    chance = random.Random(4)
    events = []
    for number in range(1_000):
        day = number // 100
        popular, name = (popular_then, "like") if day < 9 else (popular_now, action)
        item = popular if chance.random() < 0.6 else chance.randrange(10)
        events.append(Event(f"u{number}", f"i{item}", START + day * DAY + number, name))
    return events


def counted(events: list[Event]) -> Any:
    columns = {"item_id": [[e.item] for e in events], "action": [[e.action] for e in events]}
    return tfdv.generate_statistics_from_dataframe(pa.table(columns).to_pandas())


@pytest.fixture(scope="module")
def inverted(tmp_path_factory):
    """(report, statistics of train and eval) of tables whose last day is eval."""
    out = tmp_path_factory.mktemp("drift")
    events = [*targets(2, 7), Event("last", "i0", START + 10 * DAY - 1, "like")]
    root = write_tables(out / "data", events, ITEMS)
    report = ingest(
        config_for(root, Rules(strategy="time", repeats="keep"), time_unit="seconds"), out
    )
    return report, (statistics_of(out, "train"), statistics_of(out, "eval"))


@pytest.mark.fault(22)
def test_inverted_popularity_stops_the_run_where_the_policy_is_fail(inverted, tmp_path):
    report, splits = inverted
    with pytest.raises(DataGateError) as caught:
        gate(tmp_path, report, LOOSE.model_copy(update={"drift_policy": "fail"}), targets=splits)
    message = str(caught.value)
    assert "eval: feature item_id drifted from train" in message
    assert "above the threshold 0.3" in message
    assert "action" not in message
    assert caught.value.exit_code == 2


@pytest.mark.fault(22)
def test_by_default_the_run_goes_on_with_a_warning_that_is_kept(inverted, tmp_path, caplog):
    report, splits = inverted
    verdict = gate(tmp_path, report, targets=splits)
    assert verdict["passed"] is True
    assert len(verdict["tolerated"]) == 1 and "item_id drifted" in verdict["tolerated"][0]
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "item_id drifted" in warning.getMessage()


@pytest.mark.fault(22)
@pytest.mark.parametrize(
    ("now", "change", "drifted"),
    [
        ((2, 2), {}, []),
        ((2, 7), {}, ["item_id"]),
        ((2, 2, "click"), {}, ["action"]),
        ((2, 7, "click"), {}, ["item_id", "action"]),
        ((2, 7), {"drift_policy": "off"}, []),
        ((2, 7), {"drift_max_distance": 0.9}, []),
    ],
)
def test_what_counts_as_drift(inverted, tmp_path, now, change, drifted):
    report, _ = inverted
    events = targets(*now)
    splits = counted(events[:900]), counted(events[900:])
    verdict = gate(tmp_path, report, LOOSE.model_copy(update=change), targets=splits)
    assert verdict["passed"] is True
    assert len(verdict["tolerated"]) == len(drifted)
    for name, reason in zip(drifted, verdict["tolerated"], strict=True):
        assert f"feature {name} drifted" in reason
