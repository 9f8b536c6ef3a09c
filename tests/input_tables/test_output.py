import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import ConfigError, DataError
from input_tables.output import TableWriter, whole_folder


def items(*topics):
    return pa.table({"item_id": ["i"], "topics": pa.array([list(topics)], pa.list_(pa.string()))})


def test_a_folder_appears_whole(tmp_path):
    out = tmp_path / "out"
    with whole_folder(out) as root:
        (root / "items.csv").write_text("x")
        assert not out.exists()
    assert os.listdir(tmp_path) == ["out"] and os.listdir(out) == ["items.csv"]


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "out") as root:
        (root / "items.csv").write_text("x")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_a_failure_keeps_what_was_there(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "items.csv").write_text("old")
    with pytest.raises(RuntimeError), whole_folder(out, force=True):
        raise RuntimeError
    assert (out / "items.csv").read_text() == "old" and os.listdir(tmp_path) == ["out"]


def test_a_folder_that_is_not_empty_needs_force(tmp_path):
    (tmp_path / "items.csv").write_text("old")
    with pytest.raises(ConfigError, match="--force"), whole_folder(tmp_path):
        pass
    with whole_folder(tmp_path, force=True) as root:
        (root / "items.csv").write_text("new")
    assert (tmp_path / "items.csv").read_text() == "new"


def test_force_never_replaces_other_things(tmp_path):
    (tmp_path / "thesis.txt").write_text("ten years")
    with pytest.raises(ConfigError, match=r"thesis\.txt"), whole_folder(tmp_path, force=True):
        pass
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize("file_format", ["csv", "csv.gz", "parquet"])
def test_topics_are_written_as_each_format_wants_them(tmp_path, file_format):
    with TableWriter(tmp_path, "items", file_format) as writer:
        writer.write(items("a", "b"))
        writer.write(items())
    if file_format == "parquet":
        assert pq.read_table(writer.path)["topics"].to_pylist() == [["a", "b"], []]
    else:
        with pa.input_stream(str(writer.path)) as stream:
            assert stream.read().decode().splitlines()[1:] == ['"i","a|b"', '"i",""']


def test_a_topic_that_csv_cannot_hold_is_refused(tmp_path):
    with pytest.raises(DataError, match="write Parquet"), TableWriter(tmp_path, "i", "csv") as w:
        w.write(items("a|b"))
