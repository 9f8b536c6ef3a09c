"""Faults 23 and 24: changed bytes, cut and empty files give typed errors that name the file."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.examples_io import read_split
from core.errors import DataError, TesseraError, TrainingError
from tests.components.example_gen_oracle import Event
from tests.components.example_gen_tables import HEADERS, config_for, ingest, write_tables
from tests.components.raw_examples import example as raw_example
from tests.components.raw_examples import write_split
from trainer.records import check_files
from trainer.run_fn import run_fn

REPOSITORY = Path(__file__).resolve().parents[2]
#: No fault may keep a reader busy: ten minutes are no sign of a busy machine.
pytestmark = pytest.mark.timeout(600)
EVENTS = [Event(f"u{k % 5}", f"i{k % 7}", k, "like") for k in range(60)]
ITEMS = {f"i{k}": ["t"] for k in range(7)}


def changed(data: bytes, chance: random.Random) -> bytes:
    """A few bytes replaced, put in or taken out."""
    out = bytearray(data)
    for _ in range(chance.choice([1, 1, 3, 10])):
        at = chance.randrange(len(out))
        kind = chance.random()
        if kind < 0.6:
            out[at] ^= chance.randrange(1, 256)
        elif kind < 0.8:
            out[at:at] = chance.randbytes(3)
        else:
            del out[at : at + 4]
    return bytes(out)


def records(path: Path) -> list[bytes]:
    dataset = tf.data.TFRecordDataset([str(path)], compression_type="GZIP")
    return list(dataset.as_numpy_iterator())


@pytest.fixture(scope="module")
def tfrecord(tmp_path_factory) -> tuple[bytes, list[bytes]]:
    """A gzipped file of records as Transform writes it, and the records."""
    path = tmp_path_factory.mktemp("record") / "r.gz"
    chance = random.Random(0)
    content = [chance.randbytes(chance.randrange(0, 90)) for _ in range(50)]
    with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
        for record in content:
            writer.write(record)
    return path.read_bytes(), content


@pytest.mark.fault(23)
def test_changed_records_are_refused_by_name_or_read_as_they_were(tfrecord, tmp_path):
    data, content = tfrecord
    chance, refused, path = random.Random(1), 0, tmp_path / "some.gz"
    for _ in range(300):
        path.write_bytes(changed(data, chance))
        try:
            check_files([str(path)])
        except TrainingError as error:
            refused += 1
            assert str(path) in str(error)
        else:  # only the header of gzip can change without harm
            assert records(path) == content
    assert refused > 250


@pytest.mark.fault(24)
def test_a_file_cut_anywhere_is_refused(tfrecord, tmp_path):
    data, _ = tfrecord
    path = tmp_path / "cut.gz"
    for size in [*range(0, 40), *range(40, len(data), 31), len(data) - 8, len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(TrainingError, match=r"cut\.gz"):
            check_files([str(path)])


@pytest.mark.fault(24)
def test_what_is_gzip_but_no_records_is_refused(tfrecord, tmp_path):
    data, _ = tfrecord
    whole = gzip.decompress(data)
    for content, reason in (
        (whole[:-5], "last record is cut"),
        (b"hello world, this is text", "not a TFRecord file"),
        (struct.pack("<Q", 100) + b"short", "last record is cut"),
    ):
        path = tmp_path / "odd.gz"
        path.write_bytes(gzip.compress(content))
        with pytest.raises(TrainingError, match=f"odd.gz: .*{reason}"):
            check_files([str(path)])


@pytest.mark.fault(24)
def test_whole_files_pass_be_they_empty_or_of_several_members(tfrecord, tmp_path):
    data, content = tfrecord
    path = tmp_path / "fine.gz"
    for parts in (data, data + data, gzip.compress(b"")):
        path.write_bytes(parts)
        check_files([str(path)])
    path.write_bytes(data + data)
    assert records(path) == content * 2


@pytest.mark.fault(24)
@pytest.mark.parametrize("split", ["train", "validation", "corpus"])
@pytest.mark.parametrize("kept", [0, 0.5])
def test_training_stops_before_it_begins_and_names_every_damaged_file(world, tmp_path, split, kept):
    tiny = world.transformed
    copied = type(tiny)(str(tmp_path / "examples"), tiny.graph, tiny.raw)
    shutil.copytree(tiny.examples, copied.examples)
    (path,) = (Path(copied.examples) / f"Split-{split}").glob("*.gz")
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(TrainingError, match=f"Split-{split}/{path.name}"):
        run_fn(copied.fn_args(tmp_path))
    assert not (tmp_path / "Format-Serving").exists()


def parquet_tables(root: Path) -> Path:
    write_tables(root, EVENTS, ITEMS, None)
    (root / "engagements.csv").unlink()
    columns = dict(zip(HEADERS["engagements"], zip(*EVENTS, strict=True), strict=True))
    del columns["source"], columns["source_topic"]
    pq.write_table(pa.table({k: list(v) for k, v in columns.items()}), root / "engagements.parquet")
    return root


@pytest.mark.fault(23)
@pytest.mark.parametrize("name", ["items.csv", "items.csv.gz", "engagements.parquet"])
def test_changed_tables_are_ingested_or_refused_by_name(tmp_path, name):
    """Through the whole of ExampleGen: Arrow meets damaged Parquet in a child process first."""
    root = parquet_tables(tmp_path / "data")
    if name.endswith(".gz"):
        (root / name).write_bytes(gzip.compress((root / "items.csv").read_bytes()))
        (root / "items.csv").unlink()
    data, chance, refused = (root / name).read_bytes(), random.Random(7), 0
    for number in range(6):
        (root / name).write_bytes(changed(data, chance))
        try:
            report = ingest(config_for(root), tmp_path / str(number))
        except DataError as error:
            refused += 1
            assert name in str(error)
        else:
            assert report["items"] <= 2 * len(ITEMS)
    assert refused


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("name", "kept"),
    [
        *[("engagements.csv.gz", kept) for kept in (0, 1, 0.5, -1)],
        *[("engagements.parquet", kept) for kept in (0, 1, 0.5, -1)],
        *[("engagements.csv", kept) for kept in (0, 1)],
    ],
)
def test_empty_and_cut_tables_stop_the_run_by_name(tmp_path, name, kept):
    root = parquet_tables(tmp_path / "data")
    whole = (root / "engagements.parquet").read_bytes()
    (root / "engagements.parquet").unlink()
    if ".csv" in name:
        write_tables(root, [event for event in EVENTS for _ in range(40)], ITEMS, None)
        whole = (root / "engagements.csv").read_bytes()
        (root / "engagements.csv").unlink()
        whole = gzip.compress(whole) if name.endswith(".gz") else whole
    size = int(kept * len(whole)) if kept == 0.5 else kept
    (root / name).write_bytes(whole[:size])
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        ingest(config_for(root), tmp_path)
    assert not list((tmp_path / "examples").rglob("*.parquet"))


@pytest.mark.fault(24)
def test_an_empty_or_cut_file_of_raw_examples_is_named(tmp_path):
    rows = [raw_example("u", "i1", ["i2"]) for _ in range(50)]
    write_split(tmp_path, "eval", rows)
    (path,) = (tmp_path / "Split-eval").iterdir()
    data = path.read_bytes()
    for size in (0, 4, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(DataError, match=path.name):
            list(read_split(str(tmp_path), "eval"))


@pytest.mark.fault(23)
def test_other_formats_are_refused_by_name(tmp_path):
    folder = tmp_path / "engagements" / "span=2024-01-01"
    folder.mkdir(parents=True)
    (folder / "part-0.avro").write_bytes(b"Obj\x01" + os.urandom(30))
    data = {"root": str(tmp_path), "run_date": "2024-01-01", "window_days": 1}
    with pytest.raises(TesseraError, match=r"part-0\.avro: not a \.csv"):
        ingest(config_for(tmp_path, data=data), tmp_path / "out")


#: Reads a table in the three ways in which a reader ends before its file does.
_ENDS = """
import gzip, io
from core.errors import DataError
from input_tables.contract import ReadSettings
from input_tables.reading import read_table
head = b"user_id,item_id,timestamp,action\\n" + b"u1,i1,1,like\\n" * 600_000
bomb = gzip.compress(head + b'u,"' + b"a" * (24 << 20), 1)
whole = gzip.compress(head, 1)
for data in (bomb, whole[:-9], whole) * 3:
    batches = read_table(io.BytesIO(data), "engagements", ReadSettings(), name="t.csv.gz")
    try:
        for _ in batches:
            if data is whole:
                break
    except DataError as error:
        print(error)
"""


@pytest.mark.fault(23)
def test_readers_that_end_early_do_not_hang():
    """Arrow's read-ahead thread waits for the interpreter while its reader is freed."""
    done = subprocess.run(
        [sys.executable, "-c", _ENDS],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert all("a row is longer than" in line for line in lines[::2])
    assert all("t.csv.gz: cannot be read as CSV" in line for line in lines[1::2])
