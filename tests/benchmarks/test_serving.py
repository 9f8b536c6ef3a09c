"""The serving benchmark: its data, its clock and its tables."""

from __future__ import annotations

import argparse
import pathlib
import time

import numpy as np
import pytest

from benchmarks.serving import data, report
from benchmarks.serving.peers import Peer, kept, recall
from benchmarks.serving.timing import Path, measure


@pytest.fixture(scope="module")
def catalogue():
    return data.make_catalogue(3000, 16)


def test_catalogue_and_users_are_the_same_on_every_run(catalogue):
    again = data.make_catalogue(3000, 16)
    np.testing.assert_array_equal(catalogue.vectors, again.vectors)
    first, second = (data.make_users(catalogue, 3) for _ in range(2))
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_vectors_have_length_one_and_users_want_related_items(catalogue):
    users = data.make_users(catalogue, 5)
    assert users.vectors.shape == (5, data.SLOTS, 16)
    np.testing.assert_allclose(np.linalg.norm(catalogue.vectors, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(users.vectors, axis=2), 1.0, rtol=1e-5)
    own = np.einsum("usd,utd->ust", users.vectors, users.vectors).mean()
    other = (users.vectors.reshape(-1, 16) @ catalogue.vectors.T).mean()
    assert own > other + 0.1
    assert users.mass.min() >= 1


def test_cluster_sizes_are_skewed(catalogue):
    sizes = np.sort(np.bincount(catalogue.cluster))[::-1]
    assert sizes[:50].sum() > 0.2 * sizes.sum()


def test_recall_is_of_the_first_as_many_as_the_truth():
    found = np.array([[1, 2, 9], [5, 4, 3]])
    assert recall(found, np.array([[1, 9], [4, 5]])) == pytest.approx(0.75)


def test_a_peer_takes_the_least_effort_that_reaches_the_target():
    effort = []
    truth = np.arange(4)[None, :]
    peer = Peer(
        "peer",
        lambda queries, k: (np.where(np.arange(k) < effort[-1], np.arange(k), -1)[None], None),
        effort.append,
        (1, 2, 3, 4),
        0.0,
    )
    peer.tune(np.zeros((1, 2)), truth, 4, 0.7)
    assert peer.chosen == {"effort": 3, "recall": 0.75}
    with pytest.raises(SystemExit, match="reaches recall"):
        peer.tune(np.zeros((1, 2)), truth + 50, 4, 0.7)


def test_a_kept_index_is_never_taken_for_other_vectors(tmp_path):
    built = []

    def write(path):
        built.append(path)
        pathlib.Path(path).write_text("an index")

    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    paths = [kept(tmp_path, "kind", each, write) for each in (vectors, vectors, vectors + 1)]
    assert paths[0] == paths[1] != paths[2]
    assert len(built) == 2 and not any(pathlib.Path(path).exists() for path in built)


def test_waiting_costs_clock_time_and_hardly_any_cpu():
    waits, works = (
        Path("waits", lambda users: time.sleep(0.05)),
        Path("works", lambda users: sum(range(200_000))),
    )
    measure([waits, works], {1: [np.array([0])] * 4}, rounds=2)
    assert len(waits.wall[1]) == len(works.cpu[1]) == 8
    assert waits.milliseconds(1) >= 50
    assert waits.milliseconds(1, of_cpu=True) < 25  # idle threads of others spin for a while


@pytest.mark.slow("measures several kinds of index")
@pytest.mark.nightly
def test_a_small_run_fills_the_tables(tmp_path):
    from benchmarks.serving.world import ServingWorld

    arguments = argparse.Namespace(
        dim=16, users=32, results=40, recall=0.9, rounds=1, peers=[], cache=str(tmp_path)
    )
    world = ServingWorld(2000, arguments)
    world.measure()
    found = world.figures()
    assert [path["name"].split()[0] for path in found["paths"]] == ["ScaNN", "partitioned", "exact"]
    assert found["paths"][0]["recall"] >= 0.9
    assert all(path["cpu_b32_p50_ms"] > 0 for path in found["paths"])
    assert set(found["stages"]) == {"12 implicit", "7 implicit + 5 explicit"}
    text = report.tables(found)
    assert "2,000 items" in text
    assert not world.folder.exists()
