"""A user out of candidates, bundles and a work folder."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.bundle import verify
from components.user_ids import IdKey
from core.errors import BundleError, DataError, TesseraError
from core.lock import run_lock
from pipeline.forget.bundles import forget_in_bundles, model_dirs
from pipeline.forget.candidates import forget_in_candidates
from pipeline.forget.person import Person
from pipeline.forget.request_log import forget_in_log
from pipeline.forget.work_dir import forget_in_work_dir
from tests.components.bundle_fixtures import snapshot
from tests.pipeline.forget.left_behind import (
    entry,
    write_bundle,
    write_day,
    write_examples,
    write_metadata,
    write_sample,
)

U1 = Person("u1")


def users(path):
    return pq.read_table(path, partitioning=None)["user_id"].to_pylist()


def test_a_user_leaves_every_day_of_candidates_and_manifests_stay_right(tmp_path):
    day = write_day(tmp_path, "2025-01-01", ["u1", "u12", "u3"])
    other = write_day(tmp_path, "2025-01-02", ["u12"])
    before, untouched = snapshot(tmp_path), snapshot(other)
    assert len(list(forget_in_candidates(tmp_path, U1, dry_run=True))) == 1
    assert snapshot(tmp_path) == before
    assert [f.what for f in forget_in_candidates(tmp_path, U1, dry_run=False)] == ["3 rows"]
    manifest = json.loads((day / "_manifest.json").read_text())
    assert (manifest["users"], manifest["rows"]) == (2, 6)
    assert manifest["files"] == {name: entry(day / name) for name in manifest["files"]}
    first = day / "part-00000-of-00002.parquet"
    assert set(users(first)) == {"u3"} and pq.read_metadata(first).metadata[b"users"] == b"1"
    assert snapshot(other) == untouched
    assert sorted(os.listdir(tmp_path)) == ["day=2025-01-01", "day=2025-01-02"]
    assert list(forget_in_candidates(tmp_path, U1, dry_run=False)) == []


def test_unfinished_candidates_go_whole_unless_somebody_writes_them(tmp_path):
    scratch = tmp_path / ".candidates-0"
    (scratch / "_scratch").mkdir(parents=True)
    with run_lock(scratch), pytest.raises(TesseraError, match="another run"):
        list(forget_in_candidates(tmp_path, U1, dry_run=False))
    assert len(list(forget_in_candidates(tmp_path, U1, dry_run=False))) == 1
    assert not scratch.exists()
    with pytest.raises(DataError, match="no candidates here"):
        list(forget_in_candidates(tmp_path, U1, dry_run=False))


def test_a_user_leaves_the_samples_of_all_versions(tmp_path):
    model = tmp_path / "serving" / "demo"
    one = write_bundle(model, 1, ["u1", "u2", "u1"])
    two = write_bundle(model, 2, ["u2"])
    assert model_dirs(tmp_path / "serving") == model_dirs(model) == [model]
    before, untouched = snapshot(one), snapshot(two)
    assert len(forget_in_bundles(model, U1, dry_run=True)) == 1
    assert snapshot(one) == before
    (found,) = forget_in_bundles(model, U1, dry_run=False)
    assert found.path == str(one) and found.what.startswith("2 of the sample's requests")
    assert users(one / "requests.parquet") == ["u2"]
    verify(one)
    assert snapshot(two) == untouched and not list(model.glob(".tmp-*"))
    assert forget_in_bundles(model, U1, dry_run=False) == []
    with pytest.raises(BundleError, match="no published version"):
        model_dirs(tmp_path)


def test_a_hashed_sample_needs_its_key(tmp_path):
    key = IdKey(b"0123456789abcdef")
    one = write_bundle(tmp_path / "demo", 1, [key.hashed("u1"), key.hashed("u2")])
    (found,) = forget_in_bundles(tmp_path / "demo", U1, dry_run=False)
    assert (found.kind, found.what) == ("unclear", "2 ids hashed with another key")
    forget_in_bundles(tmp_path / "demo", Person("u1", key), dry_run=False)
    assert users(one / "requests.parquet") == [key.hashed("u2")]
    verify(one)


@pytest.mark.parametrize("left", [["u2"], []])
def test_warm_up_requests_are_made_anew_of_who_is_left(tmp_path, left):
    import pyarrow as pa
    import tensorflow as tf

    from components.refresh.catalogue_gen.sample_requests import request_examples
    from components.serving_validator.warmup import write_warmup

    write_sample(tmp_path / "sample.parquet", ["u1", *left])
    sample = pa.Table.from_batches([request_examples(tmp_path / "sample.parquet")])
    write_warmup(tmp_path / "warm", sample, 5)
    content = (tmp_path / "warm").read_bytes()
    assert U1.in_protobuf(content)
    one = write_bundle(tmp_path / "demo", 1, ["u1", *left], content)
    forget_in_bundles(tmp_path / "demo", U1, dry_run=False)
    verify(one)
    warm = one / "assets.extra/tf_serving_warmup_requests"
    assert warm.exists() == bool(left)
    if left:
        records = list(tf.data.TFRecordDataset([str(warm)]).as_numpy_iterator())
        assert len(records) == 5
        assert not any(U1.in_protobuf(record) for record in records)
        assert all(Person("u2").in_protobuf(record) for record in records)


@pytest.fixture
def work_dir(tmp_path):
    artifacts = tmp_path / "artifacts"
    mine, theirs = (artifacts / "RetrievalExampleGen/examples" / n for n in "28")
    write_examples(mine, "train", ["u2", "u1"])
    write_examples(theirs, "train", ["u2", "u12"])
    made = [artifacts / "Transform/transformed_examples" / n for n in "39"]
    for folder in made:
        (folder / "Split-train").mkdir(parents=True)
    write_metadata(
        tmp_path / "metadata.db",
        {1: ("Examples", mine), 2: ("Examples", theirs), 3: ("Examples", made[0]),
         4: ("Examples", made[1]), 5: ("Model", artifacts / "Trainer/model/4")},
        [(1, 2, 4), (1, 3, 3), (3, 3, 4), (2, 8, 4), (2, 9, 3), (4, 9, 4), (3, 4, 3), (5, 4, 4)],
    )  # fmt: skip
    (artifacts / "Trainer/model/4").mkdir(parents=True)
    statistics = artifacts / "StatisticsGen/statistics/5/Split-train/FeatureStats.pb"
    statistics.parent.mkdir(parents=True)
    statistics.write_bytes(b"\x0a\x02u1")
    letters = artifacts / "RetrievalExampleGen/report/2/dead_letter/rows.jsonl"
    letters.parent.mkdir(parents=True)
    rows = [{"table": "engagements", "file": "e.csv", "row": n, "reason": "no item", "text": text}
            for n, text in enumerate(("u1,,5,like", "u12,,5,like"))]  # fmt: skip
    letters.write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = tmp_path / "runs/now/run.log"
    log.parent.mkdir(parents=True)
    log.write_text("e.csv:3: no item: u1,,5,like\n")
    return tmp_path


def test_artifacts_with_the_user_go_and_dead_letters_keep_their_rows(work_dir):
    before = snapshot(work_dir / "artifacts")
    forget_in_work_dir(work_dir, U1, dry_run=True)
    assert snapshot(work_dir / "artifacts") == before
    found = forget_in_work_dir(work_dir, U1, dry_run=False)
    assert [one.kind for one in found] == ["artifact"] * 3 + ["dead letters", "look"]
    there = {p.relative_to(work_dir / "artifacts").as_posix() for p in
             (work_dir / "artifacts").glob("*/*/*")}  # fmt: skip
    assert there == {
        "RetrievalExampleGen/examples/8", "RetrievalExampleGen/report/2",
        "Transform/transformed_examples/9", "Trainer/model/4",
    }  # fmt: skip
    letters = work_dir / "artifacts/RetrievalExampleGen/report/2/dead_letter/rows.jsonl"
    texts = [json.loads(line) for line in letters.read_text().splitlines()]
    assert [(row["row"], row["text"]) for row in texts] == [(0, "[removed]"), (1, "u12,,5,like")]
    assert [one.kind for one in forget_in_work_dir(work_dir, U1, dry_run=False)] == ["look"]


def test_nothing_is_removed_while_a_run_works(work_dir):
    with run_lock(work_dir), pytest.raises(TesseraError, match="another run"):
        forget_in_work_dir(work_dir, U1, dry_run=False)


def test_a_user_leaves_the_request_log_and_nameless_requests_stay(tmp_path):
    key = IdKey(b"0123456789abcdef")
    own, other, strange = (
        key.hashed("u1"),
        key.hashed("u2"),
        IdKey(b"another key, 16+").hashed("u1"),
    )
    parts = {"hour=2025-01-01T00": [own, None, other], "hour=2025-01-01T01": [other, strange]}
    for hour, names in parts.items():
        (tmp_path / hour).mkdir()
        table = pa.table({"user": pa.array(names, pa.string()), "version": [3] * len(names)})
        pq.write_table(table, tmp_path / hour / "part-0.parquet")
    before = snapshot(tmp_path)
    person = Person("u1", key)
    wanted = [("request log", "1 requests"), ("unclear", "1 users"), ("look", "1 requests without")]
    for dry_run in (True, False):
        found = list(forget_in_log(tmp_path, person, dry_run))
        assert [each.kind for each in found] == [kind for kind, _ in wanted]
        for each, (_, text) in zip(found, wanted, strict=True):
            assert each.what.startswith(text)
        assert dry_run == (snapshot(tmp_path) == before)
    left = [
        pq.ParquetFile(p).read()["user"].to_pylist() for p in sorted(tmp_path.rglob("*.parquet"))
    ]
    assert left == [[None, other], [other, strange]]
    assert [f.kind for f in forget_in_log(tmp_path, person, False)] == ["unclear", "look"]
    with pytest.raises(DataError, match="no request log here"):
        list(forget_in_log(tmp_path / "nowhere", person, False))
