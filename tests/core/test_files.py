"""Staged writes are whole or not there."""

import json

import pytest

from core.files import read_json, staged_directory, staged_file, write_json


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(RuntimeError), staged_file(target) as staging:
        staging.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_directory_appears_only_when_complete(tmp_path):
    target = tmp_path / "deep" / "bundle"
    with staged_directory(target) as staging:
        (staging / "x").write_text("1")
        assert not target.exists()
    assert (target / "x").read_text() == "1"


def test_a_failed_directory_is_removed(tmp_path):
    with pytest.raises(RuntimeError), staged_directory(tmp_path / "bundle") as staging:
        (staging / "x").write_text("1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_is_refused_and_untouched(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "keep").write_text("1")
    with pytest.raises(FileExistsError), staged_directory(tmp_path / "bundle"):
        pass
    assert (tmp_path / "bundle" / "keep").exists()


def test_json_round_trips_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"b": [1, 2.5, None]}
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"b": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, 2.5, None]}
