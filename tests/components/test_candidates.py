"""Candidates equal what the bundle answers to each user, also after kills."""

from __future__ import annotations

import hashlib
import json
import shutil

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import tessera
from cli.candidates import candidates
from components.bundle import open_bundle
from components.candidates import generate, parts
from components.candidates.config import CandidatesConfig
from core.errors import ConfigError, DataError
from core.files import read_json
from input_tables.config import DataConfig
from input_tables.layout import find_tables
from tests.components.store_fixtures import Stopped, memory_keys, memory_url, stop_before
from tests.research.published import publish

OPTIONS = ["--runner=FnApiRunner", "--sdk_container_image=none"]


def pipeline():
    return beam.Pipeline(options=PipelineOptions(OPTIONS))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("published")
    publish(path)
    return path


def run(root, out, **changes):
    config = CandidatesConfig(
        num_results=6, batch_size=2, bucket_rows=1, out=str(out), **changes.pop("config", {})
    )
    tables = find_tables(DataConfig(root=str(root / "tables")))
    asked = generate.CandidateRequest(tables, "seconds", 10, **changes)
    return generate.write_candidates(open_bundle(root / "serving"), asked, config, pipeline)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def table(folder):
    return pq.read_table(folder).to_pylist()


@pytest.fixture(scope="module")
def day(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    manifest = run(root, out)
    return out / f"day={manifest['day']}"


def test_every_user_gets_what_the_bundle_answers(root, day):
    found = table(day)
    assert {row["user_id"] for row in found} == {"007", "other", "fan"}
    with tessera.load(root / "serving") as model:
        for user in ("007", "other", "fan"):
            answer = model.explain(model.question(user, now=1700009001), 6)
            mine = [row for row in found if row["user_id"] == user]
            want = [(i["rank"], i["item_id"], i["kind"]) for i in answer["items"]]
            assert [(r["rank"], r["item_id"], r["kind"]) for r in mine] == want
            assert [r["score"] for r in mine] == pytest.approx(
                [i["score"] for i in answer["items"]], abs=1e-6
            )
            for row, item in zip(mine, answer["items"], strict=True):
                assert row["reason"] == item["reason"].replace("Title ", "")


def test_the_manifest_says_what_is_there(day):
    manifest = read_json(day / generate.MANIFEST)
    assert day.name == "day=2023-11-15" and manifest["now"] == 1700009001
    assert (manifest["users"], manifest["rows"], manifest["version"]) == (3, len(table(day)), 1)
    assert set(manifest["files"]) | {generate.MANIFEST} == set(contents(day))
    assert len(manifest["files"]) > 1
    assert [path.name for path in day.parent.iterdir()] == [day.name]


@pytest.mark.nightly
def test_a_run_that_was_killed_twice_is_taken_up_and_gives_the_same_bytes(
    root, day, tmp_path, monkeypatch
):
    written, ask = [], parts.WritePart._ask

    def dies(self, inputs):
        written.append(1)
        if len(written) in (2, 4):
            raise KeyboardInterrupt
        return ask(self, inputs)

    monkeypatch.setattr(parts.WritePart, "_ask", dies)
    for _ in range(2):
        with pytest.raises(BaseException):  # noqa: B017  # Beam wraps it in its own way
            run(root, tmp_path)
        assert not list(tmp_path.glob("day=*"))  # nothing half-written is visible
        assert list(tmp_path.glob(".candidates-*/part-*"))
    run(root, tmp_path)
    assert contents(tmp_path / day.name) == contents(day)
    # Each part that was finished was not made again: 2 calls that died, and one per batch.
    assert len(written) <= 2 + 3
    assert [path.name for path in tmp_path.iterdir()] == [day.name]


def test_under_a_url_the_same_files_appear_and_nothing_is_left_here(root, day):
    url = memory_url()
    manifest = run(root, url)
    keys = memory_keys(url)
    assert {name.removeprefix(f"{day.name}/"): v for name, v in keys.items()} == contents(day)
    assert run(root, url) == manifest
    assert not generate._local(url).exists() or not list(generate._local(url).iterdir())


def test_stopped_before_any_write_a_url_shows_a_whole_day_or_none(tmp_path, monkeypatch):
    def publish_day(url, parts):
        staging = tmp_path / "staging"
        (staging / "_scratch").mkdir(parents=True, exist_ok=True)
        files = {f"part-{n}-of-{len(parts)}.parquet": each for n, each in enumerate(parts)}
        for name, content in files.items():
            (staging / name).write_bytes(content)
        digests = {name: hashlib.sha256(v).hexdigest() for name, v in files.items()}
        generate._publish(staging, tmp_path / "day=2025-01-01", {"files": digests}, url)

    write, seen = 0, set()
    while True:
        url = memory_url()
        publish_day(url, [b"a", b"b", b"c"])
        stopped = False
        with monkeypatch.context() as patch:
            stop_before(patch, write)
            try:
                publish_day(url, [b"d", b"e"])
            except Stopped:
                stopped = True
        keys = {name.partition("/")[2]: v for name, v in memory_keys(url).items()}
        if generate.MANIFEST in keys:
            listed = json.loads(keys[generate.MANIFEST])["files"]
            for name, digest in listed.items():
                assert hashlib.sha256(keys[name]).hexdigest() == digest
            seen.add(len(listed))
        if not stopped:
            assert keys.keys() == {*listed, generate.MANIFEST}  # parts of the old day are gone
            break
        write += 1
    assert write >= 4 and seen == {2, 3}


@given(st.lists(st.integers(), max_size=30), st.integers(1, 4))
def test_results_come_in_order_and_never_pile_up(items, threads):
    taken = []

    def source():
        for number in items:
            taken.append(number)
            yield number

    found = []
    for result in parts.in_order(lambda number: number + 1, source(), threads):
        found.append(result)
        assert len(taken) <= len(found) + threads
    assert found == [number + 1 for number in items]


def test_the_same_question_is_answered_once_and_another_one_replaces_the_day(root, day, tmp_path):
    shutil.copytree(day, tmp_path / day.name)
    before = (tmp_path / day.name / generate.MANIFEST).stat().st_mtime_ns
    run(root, tmp_path)
    assert (tmp_path / day.name / generate.MANIFEST).stat().st_mtime_ns == before
    run(root, tmp_path, only=frozenset([b"fan"]))
    assert {row["user_id"] for row in table(tmp_path / day.name)} == {"fan"}
    assert [path.name for path in tmp_path.iterdir()] == [day.name]


def test_events_after_the_moment_are_not_known(root, tmp_path):
    run(root, tmp_path, now=1700000100, only=frozenset([b"007"]))
    found = table(tmp_path / "day=2023-11-14")
    assert {r["reason"] for r in found} == {"because of i0", "follows odd"}


def test_positions_have_no_day(root, tmp_path):
    tables = find_tables(DataConfig(root=str(root / "tables")))
    asked = generate.CandidateRequest(tables, "order", 10)
    with pytest.raises(ConfigError, match="give the day"):
        generate.write_candidates(
            open_bundle(root / "serving"), asked, CandidatesConfig(out=str(tmp_path)), pipeline
        )


def test_the_command_writes_the_users_of_a_list(root, tmp_path):
    (tmp_path / "users.csv").write_text("user_id\n007\nnobody\n")
    words = ["--bundle", str(root / "serving"), "--out", str(tmp_path / "out"), "-n", "3"]
    done = CliRunner().invoke(
        candidates, [*words, "--users", str(tmp_path / "users.csv"), "--json"]
    )
    assert done.exit_code == 0, done.exception
    manifest = json.loads(done.stdout[done.stdout.index("{") :])
    assert (manifest["users"], manifest["rows"]) == (1, 3)
    wrong = CliRunner().invoke(candidates, [*words, "--users", str(root / "tables/items.csv")])
    assert isinstance(wrong.exception, DataError) and "user_id" in str(wrong.exception)
