"""Interest tokens against their formula."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.interests import histories as h
from trainer.config import ModelConfig
from trainer.interests import make_extractor


def numpy_tokens(encoded, valid, queries, keys, values):
    """Oracle, one user: one softmax over the items for each query."""
    items = encoded[valid].astype(np.float64)
    attention = np.stack(
        [h.softmax((items @ keys) @ query / np.sqrt(len(query)), axis=0) for query in queries]
    )
    return h.unit(attention @ (items @ values)), attention


@given(h.cases, st.integers(1, 5))
def test_it_is_attention_with_learned_queries(case, slots):
    made = h.extractor("interest_token", slots)
    weights = h.weights_of(made)
    found = h.extract(made, case)
    for user in np.flatnonzero(case.valid.any(axis=1)):
        valid = case.valid[user]
        conditions, attention = numpy_tokens(
            case.encoded[user],
            valid,
            weights["interest_queries"],
            weights["interest_keys"],
            weights["interest_values"],
        )
        np.testing.assert_allclose(found.conditions[user], conditions, atol=1e-4)
        np.testing.assert_array_equal(found.history_slot[user][valid], attention.argmax(axis=0))
    alike = np.repeat(case.valid.any(axis=1, keepdims=True), slots, axis=1)
    np.testing.assert_array_equal(found.slot_valid, alike)
    np.testing.assert_array_equal(found.mass, alike)


def test_new_queries_differ():
    made = make_extractor(ModelConfig(name="interest_token", embedding_dim=64))
    queries = h.weights_of(made)["interest_queries"]
    assert 0.8 < queries.std() < 1.2
    assert len(np.unique(queries.round(3), axis=0)) == 4
