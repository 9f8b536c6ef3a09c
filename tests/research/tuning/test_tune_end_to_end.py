"""A search over a real model: two trials, then nothing left to do."""

import pytest
import yaml

from tests.e2e.conftest import tessera, write_config


@pytest.mark.nightly  # two trainings in processes of their own
def test_two_trials_then_the_same_command_answers_from_what_is_there(tmp_path):
    sizes = ("--users", 120, "--items", 200, "--topics", 10, "--days", 10, "--engagements", 3000)
    made = tessera("data", "generate", "--out", tmp_path / "tables", *sizes)
    assert made.code == 0, made.err
    conf = write_config(tmp_path / "run.yaml", tmp_path / "tables", tmp_path / "work")
    out = tmp_path / "tuned.yaml"
    words = ("tune", "--conf", conf, "--models", "two_tower", "--trials", 2, "--epochs", 1)
    first = tessera(*words, "--out", out, "--json")
    assert first.code == 0, first.err
    found = first.json()["models"]["two_tower"]
    assert found["trials"] == {"done": 2, "pruned": 0, "failed": 0}
    assert found["outcomes"][0]["settings"]["model.hidden_units"] == [32]
    assert 0.0 < found["first_value"] <= found["best_value"] <= 1.0
    assert yaml.safe_load(out.read_text())["models"]["two_tower"]["set"]["trainer"]
    trials = tmp_path / "work/tuning/trials"
    assert len(list(trials.glob("*/result.json"))) == 2
    assert not list(trials.glob("*/checkpoints"))
    again = tessera(*words, "--out", out, "--json")
    assert again.code == 0 and again.json()["models"]["two_tower"] == found
