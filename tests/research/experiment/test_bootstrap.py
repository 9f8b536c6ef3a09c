"""Paired bootstrap over users."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.experiment.bootstrap import UserResamples

ALL = "all"


def loop_interval(users, difference, seed, resamples, level=0.95):
    """Draws users one by one and keeps all their examples."""
    generator = np.random.default_rng(seed)
    count = max(users) + 1
    means = []
    for _ in range(resamples):
        values = []
        for user in generator.integers(0, count, count):
            values += [d for u, d in zip(users, difference, strict=True) if u == user]
        means.append(np.mean(values) if values else np.nan)
    tail = (1 - level) / 2
    return np.nanquantile(means, [tail, 1 - tail])


def test_the_interval_is_that_of_users_drawn_one_by_one():
    generator = np.random.default_rng(3)
    users = np.sort(generator.integers(0, 12, 40))
    users = np.unique(users, return_inverse=True)[1]
    a, b = generator.random(40), generator.random(40)
    found = UserResamples(users, seed=7, resamples=50).compare(
        {"m": a}, {"m": b}, {ALL: np.ones(40, bool)}
    )[ALL]["m"]
    low, high = loop_interval(users.tolist(), (a - b).tolist(), 7, 50)
    assert found["low"] == pytest.approx(low) and found["high"] == pytest.approx(high)
    assert found["difference"] == pytest.approx(np.mean(a) - np.mean(b))
    assert found["users"] == len(set(users)) and found["level"] == 0.95


@settings(derandomize=True)
@given(st.integers(1, 30), st.integers(1, 60), st.integers(0, 10_000))
def test_the_interval_holds_the_difference_and_lies_within_the_users_extremes(
    user_count, example_count, seed
):
    generator = np.random.default_rng(seed)
    users = np.unique(generator.integers(0, user_count, example_count), return_inverse=True)[1]
    difference = generator.normal(size=example_count)
    found = UserResamples(users, resamples=200).compare(
        {"m": difference}, {"m": np.zeros(example_count)}, {ALL: np.ones(example_count, bool)}
    )[ALL]["m"]
    by_user = [difference[users == user].mean() for user in set(users)]
    assert min(by_user) - 1e-9 <= found["low"] <= found["high"] <= max(by_user) + 1e-9
    if len(by_user) >= 10:
        # Few users may be drawn so unevenly that their own mean is an extreme of the draws.
        assert found["low"] <= found["difference"] <= found["high"]


def test_examples_of_one_user_do_not_count_as_independent():
    """Copies of every example make the interval of examples narrower, that of users not."""
    generator = np.random.default_rng(0)
    difference, users = generator.normal(size=80), np.arange(80)
    once = UserResamples(users).compare(
        {"m": difference}, {"m": np.zeros(80)}, {ALL: np.ones(80, bool)}
    )[ALL]["m"]
    often = UserResamples(np.repeat(users, 9)).compare(
        {"m": np.repeat(difference, 9)}, {"m": np.zeros(720)}, {ALL: np.ones(720, bool)}
    )[ALL]["m"]
    assert often["low"] == pytest.approx(once["low"])
    assert often["high"] == pytest.approx(once["high"])


def test_only_examples_that_both_rows_answered_are_compared():
    users = np.arange(6)
    a = np.array([1.0, 1.0, np.nan, 1.0, 1.0, 1.0])
    b = np.array([0.0, np.nan, 0.0, 0.0, 1.0, 0.0])
    mask = np.array([True, True, True, True, True, False])
    found = UserResamples(users).compare({"m": a}, {"m": b}, {"x": mask, "y": ~mask & (a < 0)})
    assert set(found) == {"x"}
    assert found["x"]["m"]["difference"] == pytest.approx(2 / 3) and found["x"]["m"]["users"] == 3


def test_a_constant_difference_has_an_interval_without_width():
    users = np.repeat(np.arange(5), 3)
    found = UserResamples(users).compare(
        {"m": np.full(15, 0.7)}, {"m": np.full(15, 0.2)}, {ALL: np.ones(15, bool)}
    )[ALL]["m"]
    assert found["low"] == pytest.approx(0.5) and found["high"] == pytest.approx(0.5)


def test_the_same_seed_gives_the_same_interval():
    generator = np.random.default_rng(5)
    a = generator.random(30)
    args = {"m": a}, {"m": np.zeros(30)}, {ALL: np.ones(30, bool)}
    users = np.arange(30) // 2
    assert UserResamples(users, 1).compare(*args) == UserResamples(users, 1).compare(*args)
    assert UserResamples(users, 1).compare(*args) != UserResamples(users, 2).compare(*args)


def test_nothing_is_compared_without_examples():
    none = np.zeros(0)
    resamples = UserResamples(none.astype(np.int64))
    assert resamples.compare({"m": none}, {"m": none}, {ALL: none.astype(bool)}) == {}
