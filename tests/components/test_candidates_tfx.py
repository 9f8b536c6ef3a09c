"""The component asks the version that was pushed, and none where none was."""

from __future__ import annotations

import pyarrow.parquet as pq
from tfx.types import channel_utils

from components.artifacts import DataReport, PushedBundle
from components.candidates.component import CandidateGen
from components.candidates.config import CandidateGenConfig, CandidatesConfig
from components.candidates.executor import REPORT_FILE, Executor
from core.files import read_json
from input_tables.config import DataConfig
from tests.research.published import publish


def generate(root, tables, pushed):
    config = CandidateGenConfig(
        candidates=CandidatesConfig(num_results=2, out=str(root / "out")),
        data=DataConfig(root="elsewhere"),
        time_unit="seconds",
        follows_max_topics=5,
    )
    node = CandidateGen(
        pushed=channel_utils.as_channel([pushed]),
        data_root=str(tables),
        run_date="",
        config_json=config.canonical_json(),
        code_digest="c",
    )
    report = DataReport()
    report.uri = str(root / "report")
    (root / "report").mkdir(exist_ok=True)
    Executor().Do({"pushed": [pushed]}, {"report": [report]}, dict(node.exec_properties))
    return read_json(root / "report" / REPORT_FILE)


def test_the_pushed_version_is_asked_for_every_user(tmp_path):
    pushed = PushedBundle()
    pushed.set_string_custom_property("reason", "not blessed")
    pushed.set_int_custom_property("pushed", 0)
    answer = generate(tmp_path, tmp_path / "tables", pushed)
    assert answer == {"made": False, "reason": "not blessed"}
    assert not (tmp_path / "out").exists()

    folder = publish(tmp_path)
    pushed.set_int_custom_property("pushed", 1)
    pushed.set_string_custom_property("pushed_destination", str(folder))
    answer = generate(tmp_path, tmp_path / "tables", pushed)
    assert (answer["made"], answer["users"], answer["version"]) == (True, 3, 1)
    assert pq.read_table(tmp_path / "out" / f"day={answer['day']}").num_rows == answer["rows"] == 6
