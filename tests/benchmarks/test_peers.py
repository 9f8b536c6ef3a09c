import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.peers import __main__ as peers
from benchmarks.peers import export
from benchmarks.peers.ours import mean_cosine, run_config
from benchmarks.peers.ranking import accuracy, target_ranks
from benchmarks.peers.split import Part, PeerSplit, load_split, save_split
from benchmarks.peers.stopwatch import Stopwatch

ROOT = Path(__file__).resolve().parents[2]
PEER_PYTHON = ROOT / ".venv-peers/bin/python"


def slow_rank(users, valid, items, history, target):
    """One loop per item: how many stand before the target."""
    scores = {
        item: max(float(u @ items[item]) for u, v in zip(users, valid, strict=True) if v)
        for item in range(1, len(items))
        if item not in history or item == target
    }
    own = scores.pop(target)
    ahead = sum(score > own for score in scores.values())
    return ahead + sum(score == own for score in scores.values()) // 2


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 30))
def test_ranks_are_those_of_one_loop_per_item(seed, slots, items):
    random = np.random.default_rng(seed)
    # Small whole numbers make equal scores common and exact.
    users = random.integers(-2, 3, (5, slots, 3)).astype(np.float32)
    table = random.integers(-2, 3, (items + 1, 3)).astype(np.float32)
    valid = random.random((5, slots)) < 0.6
    valid[:, 0] = True
    history = random.integers(0, items + 1, (5, 4))
    target = random.integers(1, items + 1, 5)
    expected = [slow_rank(users[n], valid[n], table, set(history[n]), target[n]) for n in range(5)]
    assert target_ranks(users, valid, table, history, target).tolist() == expected


def test_a_model_whose_items_are_all_equal_wins_nothing():
    users, items = np.ones((1, 1, 2), np.float32), np.ones((1001, 2), np.float32)
    rank = target_ranks(users, np.ones((1, 1), bool), items, np.zeros((1, 1), int), np.array([7]))
    assert rank[0] == 999 // 2


def test_a_score_that_is_not_a_number_is_never_found():
    users = np.full((1, 1, 2), np.nan, np.float32)
    items = np.ones((4, 2), np.float32)
    rank = target_ranks(users, np.ones((1, 1), bool), items, np.zeros((1, 1), int), np.array([1]))
    assert rank[0] == len(items)


def test_accuracy_of_known_ranks():
    found = accuracy(np.array([0, 2, 9, 10, 60, 100]))
    assert found["hr@10"] == pytest.approx(3 / 6)
    assert found["hr@50"] == pytest.approx(4 / 6)
    assert found["hr@100"] == pytest.approx(5 / 6)
    # 1 / log2(2), 1 / log2(4) and 1 / log2(11)
    assert found["ndcg@10"] == pytest.approx((1.0 + 0.5 + 0.28906) / 6, abs=1e-5)


def test_a_split_is_read_as_it_was_written(tmp_path):
    split = tiny_split()
    with (tmp_path / "split.npz").open("wb") as stream:
        save_split(split, stream)
    again = load_split(tmp_path / "split.npz")
    assert (again.users, again.items) == (split.users, split.items)
    for name, part in split.parts.items():
        np.testing.assert_array_equal(again.parts[name].history, part.history)
        np.testing.assert_array_equal(again.parts[name].target, part.target)


def test_ids_become_indices_and_items_outside_the_catalogue_padding(monkeypatch):
    import pyarrow as pa

    rows = [
        {"user_id": [b"u"], "history_item_id": [b"b", b"x"], "item_id": [b"a"]},
        {"user_id": [b"v"], "history_item_id": [b"a"], "item_id": [b"c"]},
    ]
    batch = pa.RecordBatch.from_pylist(rows)
    monkeypatch.setattr(export, "read_split", lambda *_: iter([batch]))
    split = export.export_split("", export.PeerItems([b"a", b"b", b"c"], [[], [], []]), 3)
    assert split.users == 2 and split.items == 3
    part = split.parts["eval"]
    assert part.history.tolist() == [[2, 0, 0], [1, 0, 0]]
    assert part.target.tolist() == [1, 3]
    assert part.user.tolist() == [1, 2]


def test_the_mean_cosine_counts_valid_pairs_only():
    users = np.array([[[1, 0], [0, 1], [1, 0]], [[1, 0], [1, 0], [0, 1]]], np.float32)
    valid = np.array([[True, True, True], [True, False, False]])
    assert mean_cosine(users, valid) == pytest.approx(1 / 3)


def test_the_first_epoch_warms_up_and_is_not_counted():
    watch = Stopwatch()
    for _ in range(3):
        with watch.epoch(10):
            pass
    watch.wall, watch.cpu = [100.0, 1.0, 3.0], [50.0, 2.0, 2.0]
    found = watch.figures()
    assert found["examples_per_s"] == pytest.approx(5.0)
    assert found["examples_seen"] == 30 and found["train_s"] == pytest.approx(104.0)


def test_our_models_differ_by_their_name_alone():
    one, other = (
        run_config(ROOT / "benchmarks/peers/amazon-beauty.yaml", "w", name, 3)
        for name in ("mind", "dcm")
    )
    assert (one.model.name, other.model.name) == ("mind", "dcm")
    assert one.trainer == other.trainer and one.trainer.epochs == 3
    assert one.model.model_copy(update={"name": "dcm"}) == other.model


def test_a_finished_training_is_not_run_again(monkeypatch, tmp_path):
    split = tmp_path / "split.npz"
    with split.open("wb") as stream:
        save_split(tiny_split(), stream)
    calls = []

    def run(command, **_):
        calls.append(command)
        best = {"epochs": 3, "validation_hr@50": len(calls), "settings": {}}
        return subprocess.CompletedProcess(command, 0, stdout="noise\n" + json.dumps(best))

    monkeypatch.setattr(peers.subprocess, "run", run)
    arguments = peers.argparse.Namespace(
        out=str(tmp_path / "out"), epochs=14, seconds=9.0, peer_python="python"
    )
    rows = peers.peer_rows(peers.Runner(arguments, split), "mind", 3)
    assert len(calls) == 1 + len(peers.SEARCH) + 1
    # The last setting tried was the best here; it is what is trained in full.
    assert json.loads(calls[-1][-1]) == {"epochs": 14, "seconds": 9.0, **peers.SEARCH[-1]}
    assert peers.peer_rows(peers.Runner(arguments, split), "mind", 3) == rows
    assert len(calls) == 1 + len(peers.SEARCH) + 1


def tiny_split():
    """Groups of four items that follow each other, which a model can learn."""
    groups = np.arange(1, 201).reshape(50, 4)
    rows = [
        (user, [*(item for item in group if item != target), 0], target)
        for user, group in enumerate(np.repeat(groups, 4, axis=0), start=1)
        for target in group
    ]
    user, history, target = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    part = Part(user, history, target)
    return PeerSplit({name: part for name in ("train", "validation", "eval")}, 200, 200)


@pytest.mark.skipif(not PEER_PYTHON.exists(), reason="`make bench-peers` was never run")
@pytest.mark.parametrize("model", ["comirec_sa", "mind"])
def test_a_peer_learns_and_reports(tmp_path, model):
    with (tmp_path / "split.npz").open("wb") as stream:
        save_split(tiny_split(), stream)
    given = {"epochs": 30, "learning_rate": 0.01, "temperature": 0.1, "negatives": 10}
    given |= {"dim": 16, "batch_size": 16, "user_id": False, "popularity": False}
    command = [str(PEER_PYTHON), "-m", "benchmarks.peers.rechub", str(tmp_path / "split.npz")]
    done = subprocess.run(
        [*command, model, json.dumps(given)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    # By chance the target is anywhere among 197 items: ndcg@10 about 0.02.
    assert found["ndcg@10"] > 0.5
    assert found["examples_seen"] == found["epochs"] * 800
    assert found["examples_per_s"] > 0 and found["ended"] in ("epochs", "patience")
