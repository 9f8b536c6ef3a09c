"""The curated schemas name exactly the raw features."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

import schemas
from trainer import features

FOLDER = Path(schemas.__file__).parent


@pytest.mark.parametrize("name", ["examples.pbtxt", "corpus.pbtxt"])
def test_curated_schema_has_every_raw_feature_with_its_type(name: str) -> None:
    schema = text_format.Parse((FOLDER / name).read_text(), schema_pb2.Schema())
    assert tuple(feature.name for feature in schema.feature) == features.RAW_FEATURES
    for feature in schema.feature:
        wanted = schema_pb2.INT if feature.name in features.INT_FEATURES else schema_pb2.BYTES
        assert feature.type == wanted, feature.name


def test_the_contract_in_words_names_every_column_of_every_table() -> None:
    from input_tables.contract import COLUMNS

    words = (FOLDER / "README.md").read_text()
    for name in [*features.RAW_FEATURES, *(c.name for t in COLUMNS.values() for c in t)]:
        assert f"`{name}`" in words, name
