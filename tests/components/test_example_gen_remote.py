"""RetrievalExampleGen over an object store: tables, examples, dead letters, temporary files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.config import ExampleGenConfig
from components.example_gen import parts
from components.example_gen.places import shared_url
from components.example_gen.writing import SplitWriters
from core.errors import DataError
from core.storage import SHARED_VARIABLE, ObjectStore
from tests.components.example_gen_remote import (
    content,
    elsewhere,
    executed,
    places_below,
    write_world,
)
from tests.gcs_server import running_gcs
from tests.object_store import CUT, S3, s3, s3_server  # noqa: F401 - fixtures

IN_PROCESS = ["--runner=FnApiRunner"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ExampleGenConfig:
    return write_world(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def wanted(config: ExampleGenConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes of the same tables in a folder."""
    places = places_below(str(tmp_path_factory.mktemp("here")))
    found = executed(config, config.data.root, places, IN_PROCESS)
    assert len(found["letters"]) > 5 and any("parquet" in text for text in found["letters"])
    return found


def test_an_object_store_holds_everything_and_no_folder_anything(
    config: ExampleGenConfig,
    wanted: dict[str, Any],
    s3: S3,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 4_000)
    url = s3.put_tree(Path(config.data.root), s3.fresh())
    places = places_below(s3.fresh())
    # An earlier try had other buckets.
    s3.put(f"{places['examples']}/Split-train/examples-00000-of-00099.parquet", b"old")
    s3.faults.reset()
    with elsewhere(tmp_path) as tmp:
        found = executed(config, url, places, IN_PROCESS)
        assert list(tmp.iterdir()) == list(Path.cwd().iterdir()) == []
    assert found == wanted
    # No file is read as a whole: the head of a CSV file and its rows, parts of the Parquet file.
    reads = [p for m, p in s3.faults.seen if m == "GET" and p.endswith("-02/part-0.parquet")]
    assert len(reads) > 6


def test_what_an_earlier_try_left_in_a_folder_is_no_part_of_the_result(
    config: ExampleGenConfig, wanted: dict[str, Any], tmp_path: Path
) -> None:
    places = places_below(str(tmp_path))
    left = [
        Path(places["examples"]) / "Split-train/examples-00000-of-00099.parquet",
        Path(places["examples"]) / "Split-train/.examples-00000-of-00099.tmp-0",
        Path(places["report"]) / "dead_letter/rows-00000-of-00099.jsonl",
        Path(places["report"]) / "data_report.json",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old\n")
    assert executed(config, config.data.root, places, IN_PROCESS) == wanted


@pytest.mark.nightly
def test_a_store_that_fails_now_and_then_is_asked_again(
    config: ExampleGenConfig,
    wanted: dict[str, Any],
    s3: S3,  # noqa: F811
) -> None:
    url, seen = s3.put_tree(Path(config.data.root), s3.fresh()), set[tuple[str, str]]()

    def rule(method: str, path: str) -> object:
        if not path.endswith((".csv", ".parquet")) or (method, path) in seen:
            return None
        seen.add((method, path))
        return {"GET": CUT, "HEAD": 503, "PUT": 503}.get(method)

    s3.faults.reset(rule)
    assert executed(config, url, places_below(s3.fresh()), IN_PROCESS) == wanted
    assert {method for method, _ in seen} >= {"GET", "HEAD", "PUT"}


def test_buckets_of_google_are_read_and_written_too(
    config: ExampleGenConfig, wanted: dict[str, Any]
) -> None:
    with running_gcs():
        tables = ObjectStore("gs://lake/tables")
        for name, data in content(config.data.root).items():
            tables.write(name, data)
        found = executed(config, tables.url, places_below("gs://lake/out"), IN_PROCESS)
    assert found == wanted


@pytest.mark.nightly
def test_workers_files_come_here_by_way_of_a_url(
    config: ExampleGenConfig,
    wanted: dict[str, Any],
    s3: S3,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, shared = s3.put_tree(Path(config.data.root), s3.fresh()), s3.fresh()
    monkeypatch.setenv(SHARED_VARIABLE, shared)
    places = places_below(str(tmp_path / "out"))
    assert executed(config, url, places, IN_PROCESS) == wanted
    made = [path for method, path in s3.faults.writes() if method == "PUT"]
    assert [path for path in made if "/example-gen-" in path and "/examples/Split-train/" in path]
    assert content(shared) == {}


def test_where_beam_keeps_temporary_files_everybody_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SHARED_VARIABLE, raising=False)
    assert shared_url(["--temp_location=gs://b/tmp/", "--unknown=1"]) == "gs://b/tmp"
    assert shared_url(["--temp_location=/tmp"]) is None
    assert shared_url([]) is None
    monkeypatch.setenv(SHARED_VARIABLE, "/mnt/shared")
    assert shared_url(["--temp_location=gs://b/tmp/"]) is None
    monkeypatch.setenv(SHARED_VARIABLE, "s3://b/shared")
    assert shared_url(["--temp_location=gs://b/tmp/"]) == "s3://b/shared"


def test_too_many_dead_letters_are_kept_whatever_the_place(
    config: ExampleGenConfig,
    s3: S3,  # noqa: F811
) -> None:
    url, places = s3.put_tree(Path(config.data.root), s3.fresh()), places_below(s3.fresh())
    strict = config.model_copy(update={"max_bad_share": 0.0001})
    with pytest.raises(DataError, match="too many rows break the data contract") as caught:
        executed(strict, url, places, IN_PROCESS)
    assert f"All of them: {places['kept']}" in str(caught.value)
    assert f"{url}/engagements/" in str(caught.value) and "/tmp" not in str(caught.value)
    kept = b"".join(content(places["kept"]).values()).splitlines()
    assert {json.loads(line)["table"] for line in kept} == {"engagements", "items"}
    assert not [name for name in content(places["report"]) if name.startswith(".scratch")]


def test_a_file_that_cannot_be_read_on_a_worker_is_named(
    config: ExampleGenConfig,
    s3: S3,  # noqa: F811
) -> None:
    url, places = s3.put_tree(Path(config.data.root), s3.fresh()), places_below(s3.fresh())
    broken = f"{url}/engagements/span=2024-01-02/part-0.parquet"
    damaged = bytearray(s3.keys(url)["engagements/span=2024-01-02/part-0.parquet"])
    damaged[4:2_000] = b"\xff" * 1_996
    s3.put(broken, bytes(damaged))
    with pytest.raises(DataError, match="the tables cannot be read") as caught:
        executed(config, url, places, IN_PROCESS)
    assert f"{broken}: cannot be read as Parquet" in str(caught.value)


def test_a_bucket_that_fails_leaves_nothing_below_a_url(
    s3: S3,  # noqa: F811
    tmp_path: Path,
) -> None:
    import pyarrow as pa

    from components.example_gen.columns import EXAMPLE_SCHEMA

    url = s3.fresh()
    with (
        elsewhere(tmp_path) as tmp,
        pytest.raises(ZeroDivisionError),
        SplitWriters(url, "examples-00000-of-00001") as writers,
    ):
        writers.write("train", pa.RecordBatch.from_pylist([], schema=EXAMPLE_SCHEMA))
        assert len(list(tmp.iterdir())) == 1
        raise ZeroDivisionError
    assert list(tmp.iterdir()) == [] and ObjectStore(url).list() == {}
