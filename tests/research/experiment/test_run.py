"""`tessera experiment` as a user gives it: stopped, gone on with, repeated."""

import json
import signal
import subprocess
import time

import numpy as np
import pytest

from research.experiment.run import config_digest, machine
from tests import forkserver
from tests.e2e.conftest import REPOSITORY, tessera
from tests.research.experiment.experiment_yaml import write_experiment

#: Five trainings, one of them stopped: three minutes. How rows are made of runs, how a worker
#: trains and how trainings are shared is tested beside this file in seconds.
NIGHTLY = pytest.mark.nightly

GENERATE = {"users": 120, "items": 150, "topics": 8, "days": 20, "engagements": 3000, "seed": 3}
CHANGES = {
    "datasets": {"generated": {"generate": GENERATE, "max_examples": 200}},
    # Long enough to be stopped in the middle.
    "models": {"two_tower": {"set": {"trainer": {"epochs": 12}}}},
    "unions": {"seeds": {"parts": ["dcm", "dcm"], "seed_offsets": [0, 1]}},
}


def stopped_in_training(folder, conf):
    """Starts the experiment, stops it within its first training; returns the process."""
    command = [forkserver.interpreter(), "-m", "cli", "experiment", "--conf", str(conf)]
    running = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list(folder.glob("experiments/trainings/*/checkpoints/last/checkpoint")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    return running, running.communicate(timeout=300)[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment")
    conf = write_experiment(folder, **CHANGES)
    running, said = stopped_in_training(folder, conf)
    unfinished = list(folder.glob("experiments/runs/*/run.json"))
    first = tessera("experiment", "--conf", conf, "--publish", folder / "docs")
    return folder, conf, (running.returncode, said, unfinished), first


def runs(folder):
    found = (json.loads(path.read_text()) for path in folder.glob("experiments/runs/*/run.json"))
    return {(run["model"], run["seed"]): run for run in found}


@NIGHTLY
def test_a_stopped_experiment_says_how_to_go_on_and_leaves_no_half_run(world):
    _, _, (code, said, unfinished), _ = world
    assert code == 128 + signal.SIGTERM, said
    assert "run the same command again" in said and "Traceback" not in said
    assert unfinished == []


@NIGHTLY
def test_the_same_command_goes_on_with_the_training_that_was_stopped(world):
    folder, _, _, done = world
    assert done.code == 0, done.err
    run = runs(folder)[("two_tower", 1)]
    logs = [p.read_text() for p in folder.glob("experiments/runs/*/worker.log")]
    assert sum("resuming in epoch" in log for log in logs) == 1
    assert [epoch["epoch"] for epoch in run["history"]] == list(range(1, 13))
    assert run["figures"]["epochs"] == 12


@NIGHTLY
def test_results_hold_every_row_seed_and_figure(world):
    folder, _, _, _ = world
    results = json.loads((folder / "experiments/tiny-exp/results.json").read_text())
    rounded = json.loads(json.dumps(results), parse_float=lambda text: round(float(text), 6))
    assert json.loads((folder / "docs/tiny-exp.json").read_text()) == rounded
    content = results["datasets"]["generated"]
    rows = {row["row"]: row for row in content["rows"]}
    assert set(rows) == {"two_tower", "two_tower/foreign", "dcm", "dcm/score", "both", "seeds"}
    assert rows["two_tower/foreign"]["seeds"] == [2]
    assert rows["dcm"]["seeds"] == [1, 2]
    figures = rows["dcm"]["figures"]
    assert 0 < figures["recall@100"]["mean"] <= 1
    for name in ("examples_per_s", "train_s", "parameters", "peak_mb", "user_tower_p50_ms"):
        assert all(value > 0 for value in figures[name]["values"]), name
    assert figures["steps"]["values"] == figures["steps"]["values"][:1] * 2
    assert "recall@100" in rows["dcm"]["versus"]
    assert (folder / "experiments/tiny-exp/report.html").stat().st_size > 1000
    assert results["machine"] == machine() and results["seconds"] > 1


@NIGHTLY
def test_a_run_keeps_what_it_answered_in_the_order_of_the_examples(world):
    folder, _, _, _ = world
    (path,) = [
        p.parent
        for p in folder.glob("experiments/runs/*/run.json")
        if (r := json.loads(p.read_text()))["model"] == "dcm" and r["seed"] == 1
    ]
    default, slots = np.load(path / "default.npz"), np.load(path / "slots.npz")
    n = len(default["asked"])
    assert default["asked"].tolist() == list(range(n)) and 0 < n <= 200
    assert default["lists"].shape == default["slot"].shape == (n, 100)
    assert slots["embeddings"].shape == (n, 3, 8) and slots["embeddings"].dtype == np.float16
    assert slots["conditions"].shape == (n, 3, 8)
    np.testing.assert_array_equal(slots["slot_valid"], default["slot_valid"])
    # A user without any condition still has an embedding.
    several = slots["slot_valid"].sum(1) > 1
    assert several.any()
    np.testing.assert_array_equal(slots["condition_valid"][several], slots["slot_valid"][several])
    assert np.load(path / "items.npz")["embeddings"].shape[1] == 8


@NIGHTLY
def test_the_second_time_nothing_is_trained_and_other_words_change_nothing(world):
    folder, conf, _, _ = world
    before = {p: p.stat().st_mtime_ns for p in folder.glob("experiments/runs/*/*")}
    again = tessera("experiment", "--conf", conf, "--set", "title=Again", "--json")
    assert again.code == 0, again.err
    assert again.err.count("cached") == 4, again.err
    assert again.json()["title"] == "Again"
    assert {p: p.stat().st_mtime_ns for p in folder.glob("experiments/runs/*/*")} == before
    planned = tessera("experiment", "--conf", conf, "--dry-run", "--json").json()
    assert [job["state"] for job in planned] == ["cached"] * 4


@NIGHTLY
def test_a_new_variant_asks_the_trained_models_without_training_them(world):
    folder, conf, _, _ = world
    trained = {p: p.read_text() for p in folder.glob("experiments/trainings/*/training.json")}
    narrow = ["--models", "dcm", "--seeds", "1", "--set", "models.two_tower.variants=[]"]
    new = ["--set", "variants.score.retrieval.exclude_seen=false"]
    planned = tessera("experiment", "--conf", conf, *narrow, *new, "--dry-run", "--json").json()
    assert [job["state"] for job in planned] == ["cached", "trained"]
    done = tessera("experiment", "--conf", conf, *narrow, *new)
    assert done.code == 0, done.err
    after = {p: p.read_text() for p in folder.glob("experiments/trainings/*/training.json")}
    assert after == trained


def test_the_digest_of_an_experiment_is_the_same_wherever_its_files_are(tmp_path):
    from research.experiment.config import load_experiment

    digests = []
    for name in "ab":
        (tmp_path / name).mkdir()
        digests.append(config_digest(load_experiment(write_experiment(tmp_path / name))))
    changed = write_experiment(tmp_path / "b", seeds=[1])
    assert digests[0] == digests[1] != config_digest(load_experiment(changed))


def test_a_dry_run_without_data_lists_every_training_and_writes_nothing(tmp_path):
    conf = write_experiment(tmp_path, **CHANGES)
    done = tessera("experiment", "--conf", conf, "--dry-run")
    assert done.code == 0, done.err
    assert done.out.count("data not ready") == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["experiment.yaml", "run.yaml"]


def test_a_wrong_seed_is_refused_with_code_2(tmp_path):
    done = tessera("experiment", "--conf", write_experiment(tmp_path), "--seeds", "1,x")
    assert (done.code, "'x' is not a number" in done.err) == (2, True)
