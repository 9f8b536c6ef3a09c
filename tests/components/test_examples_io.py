"""Reading raw examples back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.example_gen.columns import EXAMPLE_SCHEMA
from components.example_gen.writing import SplitWriters, write_empty
from components.examples_io import count_rows, padded, read_split
from core.errors import DataError


def _batch(items: list[list[bytes]]) -> pa.RecordBatch:
    row = {name: [] for name in EXAMPLE_SCHEMA.names}
    rows = [row | {"history_item_id": i, "history_timestamp": [*range(len(i))]} for i in items]
    return pa.RecordBatch.from_pylist(rows, schema=EXAMPLE_SCHEMA)


def test_reads_what_was_written_in_file_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        with SplitWriters(str(tmp_path), name) as writers:
            writers.write("train", _batch([[name.encode()]] * 3))
    write_empty(str(tmp_path), "eval")
    items = [b.column("history_item_id").to_pylist() for b in read_split(str(tmp_path), "train")]
    assert items == [[[b"a"]] * 3, [[b"b"]] * 3]
    assert count_rows(str(tmp_path), "train") == 6
    assert list(read_split(str(tmp_path), "eval")) == []
    (first, _) = read_split(str(tmp_path), "train", ["history_item_id"])
    assert first.schema.names == ["history_item_id"]


def test_a_bucket_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="half"), SplitWriters(str(tmp_path), "a") as writers:
        writers.write("train", _batch([[b"x"]]))
        raise RuntimeError("half way")
    assert list((tmp_path / "Split-train").iterdir()) == []


def test_a_bucket_that_runs_twice_leaves_one_file(tmp_path: Path) -> None:
    for _ in range(2):
        with SplitWriters(str(tmp_path), "a") as writers:
            writers.write("train", _batch([[b"x"]]))
    assert count_rows(str(tmp_path), "train") == 1


def test_a_missing_split_or_column_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'train' has no Parquet files"):
        list(read_split(str(tmp_path), "train"))
    write_empty(str(tmp_path), "train")
    with pytest.raises(DataError, match="no column nope"):
        list(read_split(str(tmp_path), "train", ["nope"]))
    (tmp_path / "Split-train" / "bad.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(DataError, match=r"bad\.parquet"):
        list(read_split(str(tmp_path), "train"))


def test_padded_cuts_and_fills() -> None:
    batch = _batch([[b"a", b"b", b"c"], [], [b"d"]])
    found = padded(batch, "history_item_id", 2, "")
    assert found.tolist() == [[b"a", b"b"], [b"", b""], [b"d", b""]]
    times = padded(batch.slice(0, 3), "history_timestamp", 4, -1)
    assert times.dtype == np.int64
    assert times.tolist() == [[0, 1, 2, -1], [-1] * 4, [0, -1, -1, -1]]
    assert padded(batch.slice(2), "history_item_id", 1, b"").tolist() == [[b"d"]]
    assert padded(batch.slice(0, 0), "history_item_id", 2, "").shape == (0, 2)
