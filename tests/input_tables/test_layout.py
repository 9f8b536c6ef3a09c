import datetime as dt
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import DataError
from input_tables.config import DataConfig
from input_tables.layout import check_headers, find_tables, fingerprint, read_settings
from tests.input_tables.tiny import put, table_bytes, write_single, write_spans

DAY = dt.date(2024, 5, 3)
DAYS = ["2024-05-01", "2024-05-02", "2024-05-03"]


def spans(root, **values):
    return DataConfig(root=str(root), run_date=DAY, window_days=3, **values)


def single(root):
    return DataConfig(root=str(root))


def test_one_shot_files_are_found(tmp_path):
    found = find_tables(single(write_single(tmp_path)))
    assert found.layout == "single" and found.window is None
    assert [Path(f.path).name for f in found.of("items")] == ["items.csv"]


def test_follows_may_be_absent(tmp_path):
    write_single(tmp_path)
    (tmp_path / "follows.csv").unlink()
    assert find_tables(single(tmp_path)).of("follows") == ()


@pytest.mark.parametrize("table", ["engagements", "items"])
def test_the_other_tables_may_not(tmp_path, table):
    write_single(tmp_path)
    (tmp_path / f"{table}.csv").unlink()
    with pytest.raises(DataError, match=f"{table}: not found"):
        find_tables(single(tmp_path))


def test_two_files_for_one_table_are_refused(tmp_path):
    write_single(tmp_path)
    put(tmp_path / "items.csv.gz", b"")
    with pytest.raises(DataError, match=r"two files for one table: items\.csv, items\.csv\.gz"):
        find_tables(single(tmp_path))


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match=r"no tables found.*span=YYYY-MM-DD"):
        find_tables(single(tmp_path))


def test_the_window_ends_at_the_run_date(tmp_path):
    write_spans(tmp_path, ["2024-04-30", *DAYS, "2024-05-04"], "2024-05-03")
    found = find_tables(spans(tmp_path))
    assert found.layout == "spans"
    assert [str(f.span) for f in found.of("engagements")] == DAYS
    assert [str(f.span) for f in found.of("items")] == ["2024-05-03"]


def test_spans_without_a_run_date_are_refused(tmp_path):
    write_spans(tmp_path, DAYS, "2024-05-03")
    with pytest.raises(DataError, match="need a run date"):
        find_tables(single(tmp_path))


@pytest.mark.fault(9)
def test_a_missing_span_is_named_and_never_replaced(tmp_path):
    write_spans(tmp_path, ["2024-05-01", "2024-05-03", "2024-05-04"], "2024-05-03")
    missing = tmp_path / "engagements" / "span=2024-05-02"
    with pytest.raises(DataError, match=f"span 2024-05-02 of engagements is missing: {missing}"):
        find_tables(spans(tmp_path))


@pytest.mark.parametrize("table", ["items", "follows"])
def test_the_snapshot_of_the_run_date_is_required(tmp_path, table):
    write_spans(tmp_path, DAYS, "2024-05-02")
    with pytest.raises(DataError, match=f"span 2024-05-03 of {table} is missing"):
        find_tables(spans(tmp_path))


def test_an_empty_span_is_refused(tmp_path):
    write_spans(tmp_path, DAYS, "2024-05-03")
    (tmp_path / "engagements/span=2024-05-02/part-0.csv").unlink()
    put(tmp_path / "engagements/span=2024-05-02/_SUCCESS", b"")
    with pytest.raises(DataError, match="holds no file"):
        find_tables(spans(tmp_path))


def test_unknown_formats_and_doubled_parts_are_refused(tmp_path):
    write_spans(tmp_path, DAYS, "2024-05-03")
    extra = put(tmp_path / "engagements/span=2024-05-02/part-0.parquet", b"")
    with pytest.raises(DataError, match="hold the same part"):
        find_tables(spans(tmp_path))
    extra.rename(extra.with_suffix(".avro"))
    with pytest.raises(DataError, match=r"part-0\.avro: not a"):
        find_tables(spans(tmp_path))


def test_both_layouts_at_once_are_refused(tmp_path):
    write_spans(tmp_path, DAYS, "2024-05-03")
    put(tmp_path / "items.csv", table_bytes("items"))
    with pytest.raises(DataError, match="both"):
        find_tables(spans(tmp_path))
    assert find_tables(spans(tmp_path, layout="spans")).layout == "spans"


def test_ground_truth_beside_the_tables_is_not_found(tmp_path):
    write_single(tmp_path)
    put(tmp_path / "truth" / "items.parquet", b"")
    assert len(find_tables(single(tmp_path)).files) == 3


def test_the_same_span_delivered_twice_has_the_same_fingerprint(tmp_path):
    first = write_spans(tmp_path / "a", DAYS, "2024-05-03")
    second = write_spans(tmp_path / "b", reversed(DAYS), "2024-05-03")
    renamed = second / "engagements/span=2024-05-02/part-0.csv"
    renamed.rename(renamed.with_name("another-name.csv"))
    os.utime(second / "items/span=2024-05-03/part-0.csv", (1, 1))
    one, two = (fingerprint(find_tables(spans(root))) for root in (first, second))
    assert one == two
    put(second / "engagements/span=2024-05-02/another-name.csv", table_bytes("items"))
    assert fingerprint(find_tables(spans(second))) != one


def test_content_moved_to_another_day_changes_the_fingerprint(tmp_path):
    write_spans(tmp_path, DAYS, "2024-05-03")
    more = table_bytes("engagements") + b"u9,i9,9,c\n"
    path = put(tmp_path / "engagements/span=2024-05-01/part-0.csv", more)
    one = fingerprint(find_tables(spans(tmp_path)))
    path.write_bytes(table_bytes("engagements"))
    put(tmp_path / "engagements/span=2024-05-02/part-0.csv", more)
    assert fingerprint(find_tables(spans(tmp_path))) != one


@pytest.mark.fault(7)
def test_headers_of_all_tables_are_checked_together(tmp_path):
    write_single(tmp_path)
    put(tmp_path / "engagements.csv", b"user_id,item_id,item_id\n")
    (tmp_path / "items.csv").unlink()
    pq.write_table(pa.table({"item_id": [7], "topics": ["a"]}), tmp_path / "items.parquet")
    put(tmp_path / "follows.csv", b"")
    with pytest.raises(DataError) as caught:
        check_headers(find_tables(single(tmp_path)))
    text = str(caught.value)
    assert "engagements.csv:1: required column 'timestamp' is missing" in text
    assert "engagements.csv:1: column 'item_id' appears 2 times" in text
    assert "items.parquet:schema: column 'item_id' must be a string" in text
    assert "items.parquet:schema: column 'topics' must be a list of strings" in text
    assert "follows.csv:1: the file is empty" in text


def test_good_headers_pass(tmp_path):
    check_headers(find_tables(single(write_single(tmp_path))))


def test_damaged_files_are_among_the_problems(tmp_path):
    write_single(tmp_path)
    (tmp_path / "items.csv").unlink()
    put(tmp_path / "items.parquet", b"PAR1 not really PAR1")
    put(tmp_path / "follows.csv", b"\x1f\x8b damaged")
    with pytest.raises(DataError) as caught:
        check_headers(find_tables(single(tmp_path)))
    assert "items.parquet: cannot be read as Parquet" in str(caught.value)
    assert "follows.csv: cannot be read as CSV" in str(caught.value)


def test_symbolic_link_loops_are_one_clear_error(tmp_path):
    write_single(tmp_path)
    (tmp_path / "items.csv").unlink()
    (tmp_path / "items.csv").symlink_to(tmp_path / "items.csv")
    with pytest.raises(DataError, match=r"items\.csv: cannot be read: .*symbolic links"):
        find_tables(single(tmp_path))


def test_a_link_to_nothing_is_one_clear_error(tmp_path):
    write_single(tmp_path)
    (tmp_path / "follows.csv").unlink()
    (tmp_path / "follows.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(DataError, match="a link to something that is not there"):
        find_tables(single(tmp_path))


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    write_single(tmp_path)
    (tmp_path / "follows.csv").unlink()
    (tmp_path / "follows.csv").mkdir()
    with pytest.raises(DataError, match=r"follows\.csv: holds no file"):
        find_tables(single(tmp_path))


@pytest.mark.parametrize("folder", ["engagements", "engagements.csv", "engagements.CSV"])
def test_a_folder_of_parts_is_a_table(tmp_path, folder):
    write_single(tmp_path)
    rows = (tmp_path / "engagements.csv").read_bytes()
    (tmp_path / "engagements.csv").unlink()
    for name in ("part-0.csv", "part-1.CSV", "_SUCCESS", ".part-0.csv.crc"):
        put(tmp_path / folder / name, rows)
    found = find_tables(single(tmp_path))
    assert [Path(file.path).name for file in found.of("engagements")] == [
        "part-0.csv",
        "part-1.CSV",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("closed", ["items.csv", "."])
def test_no_permission_is_one_clear_error(closed):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        root = write_single(Path(folder) / "tables")
        os.chmod(folder, 0o755)
        os.chmod(root / closed, 0o000)
        os.seteuid(65534)
        try:
            with pytest.raises(DataError, match="Permission denied"):
                find_tables(single(root))
        finally:
            os.seteuid(0)


def test_a_read_only_folder_is_enough(tmp_path):
    write_single(tmp_path)
    os.chmod(tmp_path, 0o555)
    try:
        check_headers(find_tables(single(tmp_path)))
    finally:
        os.chmod(tmp_path, 0o755)


def test_rows_may_not_lie_after_the_run_date(tmp_path):
    write_spans(tmp_path, DAYS, "2024-05-03")
    found = find_tables(spans(tmp_path))
    end = int(dt.datetime(2024, 5, 4, tzinfo=dt.timezone.utc).timestamp())
    assert read_settings(found, "seconds").max_timestamp == end - 1
    assert read_settings(found, "order").max_timestamp is None


def test_without_a_run_date_rows_may_not_lie_in_the_future(tmp_path):
    found = find_tables(single(write_single(tmp_path)))
    assert read_settings(found, "seconds", now=5).max_timestamp == 5
