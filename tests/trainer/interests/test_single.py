"""The plain two-tower model's one interest."""

import numpy as np
from hypothesis import given

from tests.trainer.interests import histories as h


@given(h.cases)
def test_the_condition_is_the_mean_of_the_valid_items(case):
    found = h.extract(h.extractor("two_tower"), case)
    for user in np.flatnonzero(case.valid.any(axis=1)):
        mean = case.encoded[user][case.valid[user]].mean(axis=0)
        np.testing.assert_allclose(found.conditions[user, 0], h.unit(mean), atol=1e-4)
    np.testing.assert_array_equal(found.history_slot, np.where(case.valid, 0, -1))
    np.testing.assert_array_equal(found.slot_valid[:, 0], case.valid.any(axis=1))
    np.testing.assert_array_equal(found.mass[:, 0], case.valid.any(axis=1))
