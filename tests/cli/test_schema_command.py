"""`tessera schema propose`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from cli.schema import schema
from components.example_gen.writing import write_empty
from core.errors import DataError
from tests.components.example_gen_oracle import Event, Rules
from tests.components.example_gen_tables import config_for, ingest, write_tables
from trainer import features


def test_proposes_a_schema_with_every_feature(tmp_path: Path) -> None:
    events = [Event(f"u{k % 5}", f"i{k % 7}", k, "like") for k in range(60)]
    root = write_tables(tmp_path / "data", events, {f"i{k}": ["t"] for k in range(7)})
    ingest(config_for(root, Rules(repeats="keep")), tmp_path)
    arguments = ["propose", "--examples", str(tmp_path / "examples"), "--out"]
    result = CliRunner().invoke(schema, [*arguments, str(tmp_path / "proposed.pbtxt")])
    assert result.exit_code == 0, result.output
    proposed = text_format.Parse((tmp_path / "proposed.pbtxt").read_text(), schema_pb2.Schema())
    found = {feature.name: feature for feature in proposed.feature}
    assert set(found) == set(features.RAW_FEATURES)
    assert found["item_id"].shape.dim[0].size == 1
    assert found["history_item_id"].value_count.min == 0


def test_an_empty_split_has_nothing_to_propose(tmp_path: Path) -> None:
    write_empty(str(tmp_path), "train")
    result = CliRunner().invoke(
        schema, ["propose", "--examples", str(tmp_path), "--out", str(tmp_path / "x")]
    )
    with pytest.raises(DataError, match="no examples"):
        raise result.exception
    assert not (tmp_path / "x").exists()
