"""RetrievalExampleGen as a TFX node: when it runs, and what its artifacts say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline

from components.example_gen.component import RetrievalExampleGen
from core.errors import DataError
from tests.components.example_gen_oracle import DAY, Event, Rules
from tests.components.example_gen_tables import config_for, write_csv

_START = 1_704_067_200  # 2024-01-01
_RAN = metadata_store_pb2.Execution.COMPLETE
_CACHED = metadata_store_pb2.Execution.CACHED


def _deliver(root: Path, table: str, day: int, extra: int = 0) -> None:
    noon = _START + (day - 1) * DAY + DAY // 2
    rows = {
        "engagements": [Event(f"u{k}", f"i{k}", noon + k, "like") for k in range(4 + extra)],
        "items": [(f"i{k}", "t") for k in range(6)],
        "follows": [("u1", "t", noon, None)],
    }
    folder = root / table / f"span=2024-01-{day:02d}"
    write_csv(folder / f"part-{extra}.csv", table, rows[table][-extra:] if extra else rows[table])


def _deliver_day(root: Path, day: int) -> None:
    for table in ("engagements", "items", "follows"):
        _deliver(root, table, day)


class _Lab:
    """One data folder, one metadata store, many runs."""

    def __init__(self, folder: Path) -> None:
        self.root, self.folder = folder / "data", folder
        for day in (1, 2, 3):
            _deliver_day(self.root, day)

    def run(self, run_date: str = "2024-01-03", code: str = "a") -> int:
        """Runs the node; returns the state of its execution."""
        config = config_for(
            self.root,
            Rules(strategy="time", repeats="keep"),
            data={"root": str(self.root), "run_date": run_date, "window_days": 2},
            time_unit="seconds",
        )
        node = RetrievalExampleGen(
            data_root=str(self.root),
            run_date=run_date,
            config_json=config.canonical_json(),
            dead_letter_dir=str(self.folder / "kept"),
            code_digest=code,
        )
        connection = metadata.sqlite_metadata_connection_config(str(self.folder / "metadata.db"))
        pipeline = Pipeline(
            pipeline_name="lab",
            pipeline_root=str(self.folder / "artifacts"),
            components=[node],
            enable_cache=True,
            metadata_connection_config=connection,
            beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=none"],
        )
        LocalDagRunner().run(pipeline)
        self.store = metadata_store.MetadataStore(connection)
        return max(self.store.get_executions(), key=lambda e: e.id).last_known_state

    def examples(self) -> metadata_store_pb2.Artifact:
        """The newest examples artifact."""
        return max(self.store.get_artifacts_by_type("Examples"), key=lambda a: a.id)


@pytest.mark.fault(10, 75)
def test_cache_follows_content_of_the_window_config_and_code(tmp_path: Path) -> None:
    lab = _Lab(tmp_path)
    assert lab.run() == _RAN
    assert lab.run() == _CACHED
    assert lab.run(code="b") == _RAN
    assert lab.run() == _CACHED, "back to the earlier code"

    delivered = lab.root / "engagements" / "span=2024-01-03"
    (delivered / "part-0.csv").rename(delivered / "redelivered.csv")
    os.utime(delivered / "redelivered.csv", (1, 1))
    assert lab.run() == _CACHED, "the same rows delivered again"

    _deliver(lab.root, "engagements", 1, extra=1)
    assert lab.run() == _CACHED, "a late file before the window"
    _deliver(lab.root, "engagements", 2, extra=1)
    assert lab.run() == _RAN, "a late file inside the window"

    _deliver(lab.root, "engagements", 4)
    assert lab.run() == _CACHED, "a new day that nobody asked for"
    with pytest.raises(DataError, match="2024-01-04"):
        lab.run("2024-01-04")
    _deliver_day(lab.root, 4)
    assert lab.run("2024-01-04") == _RAN
    assert lab.run("2024-01-03") == _CACHED, "back-fill of a day that was done"


def test_artifacts_say_what_they_hold(tmp_path: Path) -> None:
    lab = _Lab(tmp_path)
    lab.run()
    artifact = lab.examples()
    custom = artifact.custom_properties
    assert custom["payload_format"].string_value == "FORMAT_PARQUET"
    assert custom["run_date"].string_value == "2024-01-03"
    assert len(custom["fingerprint"].string_value) == 32
    assert artifact.properties["span"].int_value == 19_725
    assert artifact.properties["split_names"].string_value == (
        '["train", "validation", "eval", "corpus"]'
    )
    (report,) = lab.store.get_artifacts_by_type("components.DataReport")
    assert (Path(report.uri) / "data_report.json").is_file()
