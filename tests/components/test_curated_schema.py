"""The curated schema travels by content, so that every container and every cache sees it."""

import pytest
from tfx.types import standard_artifacts

from components.curated_schema.component import CuratedSchema
from components.curated_schema.executor import Executor
from core.errors import ConfigError


def run(folder, text):
    schema = standard_artifacts.Schema()
    schema.uri = str(folder)
    Executor().Do({}, {"schema": [schema]}, {"schema_text": text})


def test_it_is_written_as_it_is_where_tfx_looks_for_it(tmp_path):
    text = '# words stay\nfeature { name: "a" type: INT }\n'
    run(tmp_path / "schema", text)
    assert (tmp_path / "schema" / "schema.pbtxt").read_text() == text


def test_a_text_that_is_no_schema_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(ConfigError, match="is no schema"):
        run(tmp_path / "schema", "feature { nam: 1 }")
    assert not (tmp_path / "schema").exists()


def test_the_text_is_in_the_cache_key():
    first, second = (CuratedSchema(schema_text=text) for text in ("", "feature {}"))
    assert first.exec_properties != second.exec_properties
