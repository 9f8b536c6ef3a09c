"""Offline clusters of the catalogue."""

import numpy as np
import pytest

from trainer import item_clusters
from trainer.item_clusters import cluster_items

GROUPS, SIZE = 4, 10
ROWS = 1 + GROUPS * SIZE + 3  # padding, items, three that are never seen


def grouped(examples=3000, noise=0.0, seed=0):
    """Histories and targets inside one of four groups: items 1-10, 11-20, ..."""
    random = np.random.default_rng(seed)
    group = random.integers(0, GROUPS, (examples, 1))
    group = np.where(random.random((examples, 6)) < noise, random.integers(0, GROUPS), group)
    items = 1 + group * SIZE + random.integers(0, SIZE, (examples, 6))
    history = np.where(np.arange(5) < random.integers(1, 6, (examples, 1)), items[:, :5], 0)
    return {"history_item_id_xf": history, "item_id_xf": items[:, 5:]}


def clusters(examples, rows=ROWS, count=GROUPS, method="kmeans", seed=1):
    return cluster_items(examples, item_rows=rows, clusters=count, method=method, seed=seed)


@pytest.mark.parametrize("method", ["kmeans", "ward"])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_items_that_are_liked_together_share_a_cluster(method, noise):
    found = clusters(grouped(noise=noise), method=method)
    assert found.shape == (ROWS,)
    assert found.dtype == np.int32
    assert found[0] == -1
    assert (found[-3:] == -1).all()
    by_group = found[1:-3].reshape(GROUPS, SIZE)
    assert (by_group == by_group[:, :1]).all()
    assert sorted(by_group[:, 0]) == [0, 1, 2, 3]


def test_ward_of_many_items_merges_micro_clusters(monkeypatch):
    monkeypatch.setattr(item_clusters, "_WARD_MAX_POINTS", 30)
    monkeypatch.setattr(item_clusters, "_MICRO_CLUSTERS", 12)
    found = clusters(grouped(), method="ward")[1:-3].reshape(GROUPS, SIZE)
    assert (found == found[:, :1]).all()
    assert len(set(found[:, 0])) == GROUPS


@pytest.mark.parametrize("method", ["kmeans", "ward"])
def test_the_same_seed_gives_the_same_clusters(method):
    examples = grouped(noise=0.3)
    one, again = (clusters(examples, method=method) for _ in range(2))
    np.testing.assert_array_equal(one, again)


@pytest.mark.parametrize("method", ["kmeans", "ward"])
def test_two_items_make_two_clusters_at_most(method):
    pair = {"history_item_id_xf": np.array([[1, 0]]), "item_id_xf": np.array([[2]])}
    found = clusters(pair, rows=4, count=32, method=method)
    assert found[0] == found[3] == -1
    assert set(found[1:3]) <= {0, 1}


def test_items_seen_alone_have_no_cluster():
    alone = {"history_item_id_xf": np.array([[1, 0], [0, 0]]), "item_id_xf": np.array([[1], [2]])}
    assert (clusters(alone, rows=4) == -1).all()
    none = {"history_item_id_xf": np.zeros((0, 5), int), "item_id_xf": np.zeros((0, 1), int)}
    assert (clusters(none, rows=4) == -1).all()


def test_counts_are_those_of_a_loop():
    examples = grouped(examples=40, noise=0.5)
    history, target = examples["history_item_id_xf"], examples["item_id_xf"][:, 0]
    expected = np.zeros((ROWS, ROWS))
    for row, item in zip(history, target, strict=True):
        for other in row:
            if other and other != item:
                expected[other, item] += 1
                expected[item, other] += 1
    expected += np.diag(expected.max(axis=1))
    found = item_clusters._co_occurrence(history, target, ROWS)
    np.testing.assert_array_equal(found.toarray(), expected)
