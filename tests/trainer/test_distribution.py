"""Training on several devices and processes gives what one process gives."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError, TrainingError
from tests import forkserver
from tests.trainer.test_loop import Setup
from trainer import features, inputs
from trainer.distribution import Distribution, cluster
from trainer.run_fn import run_fn

ROOT = Path(__file__).resolve().parents[2]
#: Without randomness of a replica's own, sums are rounded in another order and no more.
QUIET = {"history_dropout": 0.0, "input_dropout": 0.0, "item_id_dropout": 0.0}
TOLERANCE = 1e-5
#: 33 is no multiple of two, so slices differ in size.
TRAINER = {"batch_size": 33, "epochs": 2, "uniform_negatives": 8, "learning_rate": 0.01}
SMALL = {"embedding_dim": 8, "hidden_units": [8], "num_interests": 2}
CASES = {
    "both losses and kinds of negatives, learned frequencies, rows of tables": (
        {"name": "dcm_cr", "joint_association": False, "ablation": {"null_condition": False}},
        {"in_batch_negatives": True, "item_frequency": "streaming", "lazy_update_min_rows": 0},
    ),
    "all defaults": ({"name": "dcm_cr"}, {}),
    "explicit loss, in-batch negatives alone": (
        {"name": "cr"},
        {"in_batch_negatives": True, "uniform_negatives": 0},
    ),
}


@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(1, 3))
def test_slices_of_all_replicas_make_up_each_global_batch(sizes, total):
    rows = np.arange(sum(sizes))
    name = features.transformed_name(features.ITEM_ID)
    batches = [part[:, np.newaxis] for part in np.split(rows, np.cumsum(sizes)[:-1])]
    dataset = tf.data.Dataset.from_generator(
        lambda: iter({name: batch} for batch in batches),
        output_signature={name: tf.TensorSpec([None, 1], tf.int64)},
    )
    replicas = [
        list(inputs.replica_slices(dataset, first, 1, total).as_numpy_iterator())
        for first in range(total)
    ]
    together = list(inputs.replica_slices(dataset, 0, total, total).as_numpy_iterator())
    for step, batch in enumerate(batches):
        slices = [replica[step] for replica in replicas]
        np.testing.assert_array_equal(np.concatenate([s[name] for s in slices]), batch)
        lengths = [len(s[name]) for s in slices]
        assert max(lengths) - min(lengths) <= 1
        assert all((s[features.BATCH_TARGETS] == batch[:, 0]).all() for s in slices)
        one_pipeline = together[step * total : (step + 1) * total]
        assert [len(s[name]) for s in one_pipeline] == lengths


def test_examples_are_counted(tiny):
    files = inputs.split_files([f"{tiny.examples}/Split-train/*"], "train")
    assert inputs.count_examples(files) == len(tiny.raw["train"])


@pytest.mark.parametrize(
    ("jobs", "task", "expected"),
    [
        ({"worker": ["a:1", "b:2"]}, ("worker", 1), (["a:1", "b:2"], 1)),
        ({"chief": ["c:3"], "worker": ["a:1", "b:2"]}, ("worker", 1), (["c:3", "a:1", "b:2"], 2)),
        ({"chief": ["c:3"], "worker": ["a:1"]}, ("chief", 0), (["c:3", "a:1"], 0)),
    ],
)
def test_the_first_address_is_the_chief(jobs, task, expected):
    kind, index = task
    text = json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})
    assert cluster(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_a_cluster_that_cannot_be_read_is_refused_with_the_form(text):
    with pytest.raises(ConfigError, match=r"TF_CONFIG is .*\"cluster\""):
        cluster(text)


def losses(folder):
    return [epoch["loss"] for epoch in json.loads((folder / "history.json").read_text())]


@pytest.mark.slow("two trainings in a process of their own")
@pytest.mark.parametrize(
    "name",
    [name if place == 0 else pytest.param(name, marks=pytest.mark.nightly)
     for place, name in enumerate(CASES)],
)  # fmt: skip
def test_two_devices_learn_what_one_learns(tiny, tmp_path, name):
    model, trainer = CASES[name]
    one, two = tmp_path / "one", tmp_path / "mirrored"
    jobs = [
        {
            "examples": tiny.examples,
            "graph": tiny.graph,
            "folder": str(folder),
            "model": {
                "embedding_dim": 8,
                "hidden_units": [8],
                "num_interests": 2,
                **QUIET,
                **model,
            },
            "trainer": {**TRAINER, **trainer, "distribution": folder.name},
        }
        for folder in (one, two)
    ]
    command = [forkserver.interpreter(), "-m", "tests.trainer.distributed", json.dumps(jobs)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=800)
    np.testing.assert_allclose(losses(two), losses(one), rtol=TOLERANCE)
    with np.load(one / "weights.npz") as expected, np.load(two / "weights.npz") as found:
        assert found.files == expected.files
        for weight in expected.files:
            np.testing.assert_allclose(found[weight], expected[weight], atol=1e-5, err_msg=weight)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


class Workers:
    """A chief and a worker on loopback, with the arguments of the Trainer in a folder."""

    def __init__(self, tiny, folder, **trainer):
        self.folder = Path(folder)
        self.file = self.folder / "checkpoints/training.json"
        self.addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
        self.fn_args = tiny.fn_args(
            folder,
            {"name": "two_tower", **QUIET},
            {**TRAINER, "distribution": "multi_worker", **trainer},
        )

    def environment(self, index):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": self.addresses}, "task": task}
        return {**os.environ, "TF_CONFIG": json.dumps(config)}

    def start(self, index):
        return subprocess.Popen(
            [forkserver.interpreter(), "-m", "trainer.worker", str(self.file)],
            cwd=ROOT,
            env=self.environment(index),
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_chief(self, monkeypatch):
        """Runs the Trainer's function in this process, its chief in another."""
        monkeypatch.setattr(sys, "executable", forkserver.interpreter())
        monkeypatch.setenv("TF_CONFIG", self.environment(0)["TF_CONFIG"])
        run_fn(self.fn_args)


def alone(tiny, folder, **trainer):
    """The same training in one process."""
    fn_args = tiny.fn_args(folder, {"name": "two_tower", **QUIET}, {**TRAINER, **trainer})
    run_fn(fn_args)
    return losses(Path(folder) / "run")


@pytest.mark.nightly
@pytest.mark.slow("three trainings in processes of their own")
def test_two_processes_have_the_loss_curve_of_one_and_the_chief_exports(
    tiny, tmp_path, monkeypatch
):
    rows = {"lazy_update_min_rows": 0, "in_batch_negatives": True}
    expected = alone(tiny, tmp_path / "one", **rows)
    workers = Workers(tiny, tmp_path / "two", **rows)
    other = workers.start(1)
    workers.run_chief(monkeypatch)
    _, said = other.communicate(timeout=300)
    assert other.returncode == 0, said
    np.testing.assert_allclose(losses(workers.folder / "run"), expected, rtol=TOLERANCE)
    assert not workers.file.exists()
    one, two = (
        tf.saved_model.load(str(tmp_path / name / "Format-Serving")) for name in ("one", "two")
    )
    items = {"item_id": tf.constant(["item 1", "new"]), "item_topics": tf.constant([["art"], [""]])}
    np.testing.assert_allclose(
        two.embed_items(**items)["embeddings"], one.embed_items(**items)["embeddings"], atol=1e-4
    )


class Told(Distribution):
    """A worker beside the chief that only hears."""

    def __init__(self, *answers):
        super().__init__(tf.distribute.get_strategy(), ("127.0.0.1:1",), chief=False)
        self.answers = list(answers)

    def chief_says(self, *values):
        answer = self.answers.pop(0)
        return values if answer is None else answer


def test_a_worker_beside_the_chief_writes_and_validates_nothing_and_stops_with_it(tiny, tmp_path):
    setup = Setup(tiny, tmp_path, epochs=9, early_stopping_patience=1)
    setup.loop._distribution = Told(None, (0.5,), (0.4,))
    setup.loop._validator.metrics = None
    history = setup.loop.run()
    assert [record["val_recall@50"] for record in history] == [0.5, 0.4]
    assert not list(tmp_path.rglob("*.index"))
    assert setup.told == []


@pytest.mark.fault(81)
def test_a_worker_with_another_checkpoint_than_the_chief_is_refused(tiny, tmp_path):
    setup = Setup(tiny, tmp_path)
    setup.loop._distribution = Told((3.0, 7.0, 0.0))
    with pytest.raises(TrainingError, match=r"epoch 0, batch 0 .* epoch 3, batch 7 of another"):
        setup.loop.run()


@pytest.mark.slow("a process of its own")
@pytest.mark.fault(81)
def test_a_worker_that_does_not_join_is_named(tiny, tmp_path, monkeypatch):
    workers = Workers(tiny, tmp_path, workers_wait_s=1)
    with pytest.raises(TrainingError, match=rf"{workers.addresses[1]} did not join within 1 s"):
        workers.run_chief(monkeypatch)


def wait_for(condition, seconds=300):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.nightly
@pytest.mark.fault(81)
def test_a_killed_worker_is_named_by_the_other_and_both_resume(tiny, tmp_path):
    settings = {"epochs": 6, "early_stopping_patience": 6}
    expected = alone(tiny, tmp_path / "one", **settings)
    workers = Workers(tiny, tmp_path / "two", **settings)
    workers.file.parent.mkdir(parents=True)
    arguments = {key: value for key, value in vars(workers.fn_args).items() if key != "eval_files"}
    workers.file.write_text(json.dumps(arguments))
    chief, other = workers.start(0), workers.start(1)
    wait_for(lambda: list(workers.file.parent.glob("last/ckpt-2.index")))
    other.send_signal(signal.SIGKILL)
    _, said = chief.communicate(timeout=300)
    assert chief.returncode == 1
    assert f"worker {workers.addresses[1]} is gone" in said
    chief, other = workers.start(0), workers.start(1)
    for process in (chief, other):
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert "resuming in epoch" in said
    np.testing.assert_allclose(losses(workers.folder / "run"), expected, rtol=TOLERANCE)
