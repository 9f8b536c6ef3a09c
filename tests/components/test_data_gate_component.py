"""ExampleGen to the gate as real TFX nodes: what TFX lets pass, the gate stops."""

from __future__ import annotations

from pathlib import Path

import pytest
from tfx.components import ExampleValidator, StatisticsGen
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline

import schemas
from components.config import GateConfig
from components.curated_schema.component import CuratedSchema
from components.data_gate.component import DataGate
from components.example_gen.component import RetrievalExampleGen
from core.errors import DataError
from core.files import read_json
from tests.components.example_gen_oracle import Event, Rules
from tests.components.example_gen_tables import config_for, write_tables


def _run(folder: Path, root: Path, gate: GateConfig) -> None:
    config = config_for(root, Rules(repeats="keep")).canonical_json()
    examples = RetrievalExampleGen(
        data_root=str(root),
        run_date="",
        config_json=config,
        dead_letter_dir=str(folder / "kept"),
        code_digest="a",
    )
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    curated = Path(schemas.__file__).parent / "examples.pbtxt"
    schema = CuratedSchema(schema_text=curated.read_text())
    validator = ExampleValidator(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        exclude_splits=["corpus"],
    )
    verdict = DataGate(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        anomalies=validator.outputs["anomalies"],
        report=examples.outputs["report"],
        config_json=gate.canonical_json(),
        corpus_schema=Path(curated).with_name("corpus.pbtxt").read_text(),
        code_digest="a",
    )
    LocalDagRunner().run(
        Pipeline(
            pipeline_name="gate",
            pipeline_root=str(folder / "artifacts"),
            components=[examples, statistics, schema, validator, verdict],
            metadata_connection_config=metadata.sqlite_metadata_connection_config(
                str(folder / "metadata.db")
            ),
            beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=none"],
        )
    )


def test_good_examples_pass_with_a_verdict(tmp_path: Path) -> None:
    events = [Event(f"u{k % 20}", f"i{k % 30}", k, "like") for k in range(400)]
    root = write_tables(tmp_path / "data", events, {f"i{k}": ["t"] for k in range(30)})
    _run(tmp_path, root, GateConfig())
    (path,) = (tmp_path / "artifacts").rglob("verdict.json")
    verdict = read_json(path)
    assert verdict["passed"]
    assert not [text for text in verdict["tolerated"] if "drift" not in text]


def test_an_empty_day_stops_although_tfx_finds_it_fine(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", [], {})
    with pytest.raises(DataError, match="engagements: no rows under the header"):
        _run(tmp_path, root, GateConfig())
    assert not list((tmp_path / "artifacts").rglob("verdict.json"))
