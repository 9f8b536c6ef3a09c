"""Tables that are read where they lie, a piece at a time, are the tables."""

import io
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from core.storage import ObjectStore
from input_tables.config import DataConfig
from input_tables.contract import ReadSettings
from input_tables.layout import TableFile, find_tables
from input_tables.reading import read_table
from input_tables.remote_reading import copy_row_groups, opened_stream, opened_table
from input_tables.remote_tables import check_remote_headers, listed_tables, marks_fingerprint
from tests.input_tables.tiny import HEADERS, csv_bytes, write_single, write_spans
from tests.object_store import s3, s3_server  # noqa: F401 - fixtures

ROWS = 2_000


def memory(content, name="engagements.csv"):
    """Puts one object; returns it as it would be listed."""
    store = ObjectStore(f"memory://lake-{uuid.uuid4().hex[:8]}")
    store.write(name, content)
    size, mark = store.entry(name)
    table = name.partition(".")[0]
    return TableFile(table, store.url_of(name), None, size, "", mark)


def engagements(bad=()):
    times = pa.array([-1 if n in bad else n for n in range(ROWS)], pa.int64())
    ids = pa.array([f"u{n % 7}" for n in range(ROWS)])
    extra = pa.array([bytes(200) + str(n).encode() for n in range(ROWS)])
    return pa.table(
        {"user_id": ids, "item_id": ids, "timestamp": times, "action": ids, "extra": extra}
    )


def parquet(table, row_group_size):
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=row_group_size, compression="none")
    return sink.getvalue()


def rows_and_letters(source, name, **groups):
    rows, letters = [], []
    for batch, bad in read_table(source, "engagements", ReadSettings(), name=name, **groups):
        rows += batch.to_pylist()
        letters += bad
    return rows, letters


@given(st.integers(300, ROWS), st.sets(st.integers(0, ROWS - 1), max_size=5), st.integers(1, 3))
def test_a_parquet_file_in_parts_is_the_file(row_group_size, bad, together):
    content = parquet(engagements(bad), row_group_size)
    file = memory(content, "engagements.parquet")
    wanted = rows_and_letters(io.BytesIO(content), file.name)
    groups = list(range(pq.ParquetFile(io.BytesIO(content)).num_row_groups))
    rows, letters = [], []
    for start in range(0, len(groups), together):
        part = groups[start : start + together]
        with opened_table(file, part) as source:
            found = rows_and_letters(source, file.name, row_groups=part)
        rows, letters = rows + found[0], letters + found[1]
    assert (rows, letters) == wanted
    assert {letter.row for letter in letters} == {number + 1 for number in bad}


def test_of_a_row_group_the_columns_of_the_contract_are_fetched(tmp_path):
    file = memory(parquet(engagements(), 500), "engagements.parquet")
    copy_row_groups(file, tmp_path / "part", [2])
    assert (tmp_path / "part").stat().st_size == file.bytes > 400_000
    fetched = (tmp_path / "part").read_bytes()
    assert len(fetched) - fetched.count(b"\0") < 100_000
    part = pq.ParquetFile(tmp_path / "part").read_row_group(2, columns=["timestamp"])
    assert part.column("timestamp").to_pylist() == list(range(1000, 1500))


@given(
    st.binary(max_size=3_000), st.lists(st.tuples(st.integers(-50, 3_500), st.integers(-1, 999)))
)
def test_a_stream_reads_and_seeks_as_a_file_does(content, steps):
    file = memory(content)
    here = io.BytesIO(content)
    with opened_stream(file, block_bytes=256) as there:
        for place, size in steps:
            for stream in (here, there):
                stream.seek(max(0, place))
            assert there.read(size) == here.read(size)
            assert there.tell() == here.tell()


def test_a_csv_file_under_a_url_is_the_file(tmp_path):
    content = csv_bytes(HEADERS["engagements"], [[f"u{n}", "i", n, "a"] for n in range(9_000)])
    file = memory(content + b"u1,i1\n")
    with opened_table(file) as source:
        found = rows_and_letters(source, file.name)
    assert found == rows_and_letters(io.BytesIO(content + b"u1,i1\n"), file.name)
    assert len(found[0]) == 9_000 and found[1][0].file == file.path


@pytest.mark.parametrize("name", ["engagements.csv", "engagements.parquet"])
def test_a_file_that_changed_since_it_was_listed_is_refused(name):
    content = parquet(engagements(), 500) if name.endswith("t") else b"user_id,item_id\n"
    file = memory(content, name)
    store, _ = ObjectStore.beside(file.path)
    store.write(name, content)
    with pytest.raises(DataError, match=f"{file.path}: .*is being written"), opened_table(file):
        pytest.fail("was read")


def test_a_file_that_changes_while_it_is_read_is_refused():
    file = memory(csv_bytes(HEADERS["engagements"], [["u", "i", "1", "a"]]))
    store, name = ObjectStore.beside(file.path)
    with pytest.raises(DataError, match="is being written"), opened_table(file) as source:
        source.read()
        store.write(name, b"user_id,item_id,timestamp,action\nu,i,2,a\n")


def test_a_damaged_row_group_is_an_error_that_names_the_url():
    whole = bytearray(parquet(engagements(), 500))
    file = memory(bytes(whole), "engagements.parquet")
    column = pq.ParquetFile(io.BytesIO(whole)).metadata.row_group(1).column(2)
    whole[column.data_page_offset : column.data_page_offset + 40] = b"\xff" * 40
    broken = memory(bytes(whole), "engagements.parquet")
    with opened_table(file, [1]) as source:
        assert len(rows_and_letters(source, file.name, row_groups=[1])[0]) == 500
    with opened_table(broken, [0]) as source:
        assert len(rows_and_letters(source, broken.name, row_groups=[0])[0]) == 500
    with (
        pytest.raises(DataError, match=f"{broken.path}: cannot be read as Parquet"),
        opened_table(broken, [1]),
    ):
        pytest.fail("was read")


def spans(root, **values):
    return DataConfig(root=str(root), run_date="2024-06-30", window_days=3, **values)


def test_tables_are_listed_and_nothing_of_them_is_read(tmp_path, s3):  # noqa: F811
    days = [f"2024-06-{day}" for day in range(25, 31)]
    here = find_tables(spans(write_spans(tmp_path, days, "2024-06-30")))
    url = s3.put_tree(tmp_path, s3.fresh())
    s3.faults.reset()
    there = listed_tables(spans(url))
    fingerprint = marks_fingerprint(there)
    assert {method for method, _ in s3.faults.seen} == {"GET"}
    assert not [path for _, path in s3.faults.seen if path.endswith(".csv")]
    assert (there.layout, there.root, there.window) == ("spans", url, here.window)
    assert [f.path for f in there.files] == [f.path.replace(str(tmp_path), url) for f in here.files]
    assert [(f.table, f.span, f.bytes) for f in there.files] == [
        (f.table, f.span, f.bytes) for f in here.files
    ]
    # The same rows under another name are the same; another row is not.
    key = f"{url}/items/span=2024-06-30"
    content = s3.keys(key)["part-0.csv"]
    ObjectStore(key).delete(["part-0.csv"])
    s3.put(f"{key}/delivered-again.csv", content)
    assert marks_fingerprint(listed_tables(spans(url))) == fingerprint
    s3.put(f"{key}/delivered-again.csv", content.replace(b"i1", b"i9"))
    assert marks_fingerprint(listed_tables(spans(url))) != fingerprint


def test_headers_are_checked_from_heads_and_footers(tmp_path, s3):  # noqa: F811
    write_single(tmp_path)
    pq.write_table(engagements(), tmp_path / "engagements.parquet", row_group_size=500)
    (tmp_path / "engagements.csv").unlink()
    url = s3.put_tree(tmp_path, s3.fresh())
    tables = listed_tables(DataConfig(root=url))
    groups, warnings = check_remote_headers(tables)
    assert warnings == []
    assert [g.rows for g in groups[f"{url}/engagements.parquet"]] == [500] * 4
    assert list(groups) == [f"{url}/engagements.parquet"]

    s3.put(f"{url}/items.csv", b"id,topics\ni1,a\n")
    s3.put(f"{url}/engagements.parquet", b"PAR1 but no more")
    with pytest.raises(DataError) as caught:
        check_remote_headers(listed_tables(DataConfig(root=url)))
    text = str(caught.value)
    assert f"{url}/items.csv:1: required column 'item_id' is missing" in text
    assert f"{url}/engagements.parquet: cannot be read as Parquet" in text
    assert str(Path("/tmp")) not in text
