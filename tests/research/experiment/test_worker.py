"""What a worker process tells, measures and does when it is stopped."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from components.evaluator.examples import EvalExamples
from core.errors import TesseraError
from core.progress import set_reporter
from research.experiment.asking import asked_examples
from research.experiment.config import load_experiment
from research.experiment.jobs import plan
from research.experiment.prepare import Prepared
from research.experiment.process import run_worker
from research.experiment.worker import peak_mb
from tests.research.experiment.experiment_yaml import write_experiment


def lines(*texts):
    return pa.array([list(text) for text in texts], pa.large_list(pa.large_binary()))


def examples():
    """Source topics: logged, derived, none, logged."""
    table = pa.table(
        {
            "followed_topic": lines([b"a", b"b"], [b"a"], [], []),
            "source_topic": lines([b"s"], [b"t"], [], [b"u"]),
            "source_topic_derived": pa.array([[0], [1], [], [0]], pa.large_list(pa.int64())),
        }
    )
    return EvalExamples(table, np.arange(4), np.arange(4) + 10, np.array([2, 1, 0, 0]))


def test_asking_by_source_asks_examples_with_a_logged_source_under_that_topic_alone():
    chosen, asked = asked_examples(examples(), "source_topic")
    assert asked.tolist() == [0, 3] and chosen.target.tolist() == [0, 3]
    assert chosen.table["followed_topic"].to_pylist() == [[b"s"], [b"u"]]
    assert (chosen.history_length.tolist(), chosen.follows.tolist()) == ([10, 13], [1, 1])


def test_asking_by_follows_asks_everything_as_it_is():
    whole = examples()
    chosen, asked = asked_examples(whole, "followed")
    assert chosen is whole and asked.tolist() == [0, 1, 2, 3]


def test_peak_memory_is_that_of_this_process_not_of_its_parent():
    ballast = np.ones(40_000_000)
    script = "from research.experiment.worker import peak_mb; print(peak_mb())"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert peak_mb() > ballast.nbytes / 2**20
    assert 1 < float(child.stdout) < 200


class Bars:
    """Keeps what was shown."""

    def __init__(self):
        self.labels = []

    def start(self, label, total):
        self.labels.append(label)
        return self

    def advance(self, amount=1, **fields):
        pass

    def stop(self, bar):
        pass


@pytest.fixture
def job(tmp_path):
    config = load_experiment(write_experiment(tmp_path))
    nowhere = str(tmp_path / "nowhere")
    return next(plan(config, "generated", Prepared(nowhere, nowhere, nowhere, "content")))


def test_a_failed_worker_ends_the_experiment_with_its_last_words_and_its_log(job):
    with pytest.raises(TesseraError, match="generated two_tower seed 1: the worker ended") as e:
        run_worker(job)
    assert "nowhere" in str(e.value) and "worker.log" in str(e.value)
    assert "Traceback" in (job.folder / "worker.log").read_text()
    assert not job.finished


def test_a_worker_without_any_result_is_a_failure_and_its_progress_is_shown(
    job, tmp_path, monkeypatch
):
    script = tmp_path / "worker.sh"
    said = [
        {"label": "training", "done": 0, "total": 2},
        {"label": "training", "done": 2, "total": 2, "loss": 0.1},
        {"label": "embedding items", "done": 5, "total": None},
    ]
    text = "\n".join(["noise", *(json.dumps(line) for line in said)])
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    bars = Bars()
    set_reporter(bars)
    try:
        with pytest.raises(TesseraError, match="exit code 0"):
            run_worker(job)
    finally:
        set_reporter(None)
    prefix = "generated two_tower seed 1: "
    assert bars.labels == [f"{prefix}training", f"{prefix}embedding items"]
