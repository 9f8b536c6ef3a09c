"""Files of other programs: their Parquet, encodings, Spark's CSV; and configurations."""

import shutil
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.input_tables.field import (
    HEADERS,
    START,
    good,
    gzipped,
    lines,
    passes,
    refused,
    text_of,
    told,
    write,
)

NEWER = Path(__file__).parent / "newer"


# 8. Other people's Parquet, and encodings


def _parquet_items(root, source):
    (root / "items.csv").unlink()
    (root / "items.parquet").unlink(missing_ok=True)
    shutil.copy(source, root / "items.parquet")
    rows = [["u1", f"i{n % 2 + 1}", str(START + n), "click"] for n in range(20)]
    (root / "engagements.csv").write_text(text_of(HEADERS["engagements"], rows))
    (root / "follows.csv").write_text(text_of(HEADERS["follows"], [["u1", "a", str(START)]]))
    return root


@pytest.mark.parametrize("name", ["float16", "string_view", "delta_encoded"])
def test_parquet_newer_than_arrow_is_read(tmp_path, name):
    passes(_parquet_items(write(tmp_path), NEWER / f"{name}.parquet"), "items: 2")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_named(tmp_path, encoding):
    text = text_of(HEADERS["items"], good()["items"]).encode(encoding)
    refused(write(tmp_path, items=text), "items.csv", "UTF-16", "iconv")


def test_a_zip_that_is_called_csv_is_named(tmp_path):
    root = write(tmp_path)
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.write(root / "items.csv")
    (tmp_path / "z").rename(root / "items.csv")
    refused(root, "items.csv", "zip archive", "unpack")


def test_gzip_padded_with_zeros_is_read_and_gzipped_twice_is_named(tmp_path):
    packed = gzipped(text_of(HEADERS["items"], good()["items"]))
    root = write(tmp_path, items=None)
    (root / "items.csv.gz").write_bytes(packed + bytes(512))
    passes(root, "120 rows")
    import gzip

    (root / "items.csv.gz").write_bytes(gzip.compress(packed))
    refused(root, "items.csv.gz", "gzipped twice")


@pytest.mark.parametrize(
    "names",
    [
        ["engagements.parquet/part-0.snappy.parquet"],
        ["engagements.PARQUET"],
        ["engagements/a.parquet", "engagements/b.parquet", "engagements/_SUCCESS"],
    ],
)
def test_parquet_as_spark_writes_it_is_read(tmp_path, names):
    root = write(tmp_path, engagements=None)
    columns = dict(
        zip(HEADERS["engagements"], zip(*good()["engagements"], strict=True), strict=True)
    )
    columns["timestamp"] = [int(value) for value in columns["timestamp"]]
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    parts = [name for name in names if name.lower().endswith(".parquet")]
    for number, name in enumerate(names):
        (root / name).parent.mkdir(exist_ok=True)
        if name in parts:
            size = table.num_rows // len(parts)
            pq.write_table(table.slice(number * size, size), root / name)
        else:
            (root / name).touch()
    passes(root, "800 rows")


# 9. CSV by Spark


def test_quotes_escaped_with_a_backslash_are_named_and_read_with_an_option(tmp_path):
    rows = lines("items")
    for n in range(10, 20):
        rows[n] = rows[n].replace("Title ", '"Say \\"hi, you\\" ') + '"'
    root = write(tmp_path, items="\n".join(rows) + "\n")
    refused(root, "Spark", "csv_escape")
    passes(root, "120 rows        0 bad", options=("--csv-escape", "\\"))


# 10. Others


def test_a_yaml_key_twice_names_both_lines(tmp_path):
    conf = tmp_path / "run.yaml"
    conf.write_text("data:\n  root: x\ntrainer:\n  epochs: 1\n  batch_size: 64\n  epochs: 12\n")
    code, said = told("run", "--conf", conf, "--dry-run")
    assert code == 2
    assert "'epochs'" in said and "line 4" in said and "line 6" in said


def test_a_root_that_is_not_there_and_a_day_without_hyphens(tmp_path):
    refused(tmp_path / "nowhere", "nowhere", "no such folder")
    conf = tmp_path / "run.yaml"
    conf.write_text(f"data:\n  root: {tmp_path}\n  run_date: 20240630\n")
    code, said = told("run", "--conf", conf, "--dry-run")
    assert code == 2 and "2024-06-30" in said and "YYYY-MM-DD" in said
