"""ComiRec's self-attention against its formula."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.interests import histories as h


def numpy_self_attention(encoded, valid, hidden, heads):
    """Oracle, one user: conditions and the attention on each valid item."""
    items = encoded[valid].astype(np.float64)
    attention = h.softmax(np.tanh(items @ hidden) @ heads, axis=0)  # [items, K]
    return h.unit(attention.T @ items), attention


@given(h.cases, st.integers(1, 5))
def test_it_is_the_papers_formula(case, slots):
    made = h.extractor("self_attention", slots)
    weights = h.weights_of(made)
    found = h.extract(made, case)
    for user in np.flatnonzero(case.valid.any(axis=1)):
        valid = case.valid[user]
        conditions, attention = numpy_self_attention(
            case.encoded[user],
            valid,
            weights["self_attention_hidden"],
            weights["self_attention_heads"],
        )
        np.testing.assert_allclose(found.conditions[user], conditions, atol=1e-4)
        np.testing.assert_array_equal(found.history_slot[user][valid], attention.argmax(axis=1))
    alike = np.repeat(case.valid.any(axis=1, keepdims=True), slots, axis=1)
    np.testing.assert_array_equal(found.slot_valid, alike)
    np.testing.assert_array_equal(found.mass, alike)


def test_the_attention_has_as_many_units_as_configured():
    weights = h.weights_of(h.extractor("self_attention", 2, attention_units=17))
    assert weights["self_attention_hidden"].shape == (h.DIM, 17)
    assert weights["self_attention_heads"].shape == (17, 2)
