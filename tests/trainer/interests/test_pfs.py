"""Pooled sequences of offline clusters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import TrainingError
from tests.trainer.interests import histories as h
from trainer.config import ModelConfig
from trainer.interests import make_extractor


def numpy_pfs(case, user, slots):
    """Oracle, one user: members of the largest clusters, the newer one first among equals."""
    members = {}
    for position in np.flatnonzero(case.valid[user]):
        cluster = int(h.TABLE[case.item_ids[user, position]])
        if cluster >= 0:
            members.setdefault(cluster, []).append(position)
    return sorted(members.values(), key=lambda m: (-len(m), m[0]))[:slots]


@given(h.cases, st.integers(1, 7))
def test_slots_pool_the_largest_clusters_of_the_history(case, slots):
    found = h.extract(h.extractor("pfs", slots), case)
    for user in range(len(case.valid)):
        expected = numpy_pfs(case, user, slots)
        used, fed = len(expected), np.full(case.valid.shape[1], -1)
        assert found.slot_valid[user].tolist() == [True] * used + [False] * (slots - used)
        for slot, members in enumerate(expected):
            fed[members] = slot
            mean = case.encoded[user, members].mean(axis=0)
            np.testing.assert_allclose(found.conditions[user, slot], h.unit(mean), atol=1e-4)
            assert found.mass[user, slot] == len(members)
        np.testing.assert_array_equal(found.history_slot[user], fed)


def test_a_user_of_items_without_a_cluster_has_no_slot():
    case = h.histories(1, users=1, length=3)
    case = case._replace(item_ids=np.array([[3, 9, 3]]), valid=np.ones((1, 3), bool))
    found = h.extract(h.extractor("pfs"), case)
    assert not found.slot_valid.any()
    assert (found.history_slot == -1).all()
    assert np.isfinite(found.conditions).all()


def test_the_clusters_are_a_frozen_table_that_no_gradient_reaches():
    made = h.extractor("pfs")
    (table,) = made.frozen_tables
    np.testing.assert_array_equal(table, h.TABLE)
    assert not made.trainable_weights


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "needs the offline clusters"),
        (np.array([-1, 0, 5]), r"run from -1 to 5; model.item_clusters=5 allows -1 to 4"),
        (np.array([-2, 0, 1]), "run from -2 to 1"),
    ],
)
def test_clusters_that_do_not_fit_are_refused(table, message):
    with pytest.raises(TrainingError, match=message):
        make_extractor(ModelConfig(name="pfs_cr", item_clusters=5), table)
