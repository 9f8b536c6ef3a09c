"""The last distinct items as conditions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.interests import histories as h


def numpy_last_k(case, user, slots):
    """Oracle, one user: walks through the history, newest first."""
    conditions, slot_of = [], {}
    fed = []
    for position, item in enumerate(case.item_ids[user]):
        if not case.valid[user, position]:
            fed.append(-1)
            continue
        if item not in slot_of and len(slot_of) < slots:
            slot_of[item] = len(slot_of)
            conditions.append(h.unit(case.encoded[user, position]))
        fed.append(slot_of.get(item, -1))
    return conditions, fed


@given(h.cases, st.integers(1, 5))
def test_slots_are_the_last_distinct_items(case, slots):
    found = h.extract(h.extractor("last_k", slots), case)
    for user in range(len(case.valid)):
        conditions, fed = numpy_last_k(case, user, slots)
        used = len(conditions)
        assert found.slot_valid[user].tolist() == [True] * used + [False] * (slots - used)
        assert found.mass[user].tolist() == [1.0] * used + [0.0] * (slots - used)
        assert found.history_slot[user].tolist() == fed
        if used:
            np.testing.assert_allclose(found.conditions[user, :used], conditions, atol=1e-5)


def test_a_repeated_item_takes_one_slot():
    case = h.histories(1, users=1, length=5)
    case = case._replace(item_ids=np.array([[7, 7, 2, 7, 5]]), valid=np.ones((1, 5), bool))
    found = h.extract(h.extractor("last_k", 2), case)
    assert found.history_slot.tolist() == [[0, 0, 1, 0, -1]]
