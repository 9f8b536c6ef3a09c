"""One question per user beside plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from components.evaluator import several_targets
from components.evaluator.items import Items
from components.evaluator.several_targets import measure, read_user_questions
from tests.components.raw_examples import example, write_split

ITEMS = 8
_USER = st.tuples(
    st.permutations(range(ITEMS)).map(lambda order: order[:5]),
    st.sets(st.integers(0, ITEMS - 1), max_size=4),
    st.integers(0, 2),
)


@given(st.lists(_USER, min_size=1, max_size=4), st.sampled_from([(1,), (2, 5), (7,)]))
def test_figures_equal_those_of_plain_python(users, ks):
    users = [user for user in users if user[1] or user[2]] or [([0], {0}, 0)]
    lists = np.array([(found + [-1] * 5)[:5] for found, _, _ in users])
    targets = np.zeros((len(users), ITEMS), np.float32)
    for row, (_, wanted, _) in enumerate(users):
        targets[row, list(wanted)] = 1.0
    sizes = np.array([len(wanted) + unknown for _, wanted, unknown in users])
    figures = measure(lists, sparse.csr_matrix(targets), sizes, ks)
    for k in ks:
        recall, precision, ndcg = [], [], []
        for (found, wanted, _), size in zip(users, sizes, strict=True):
            hits = [i for i, item in enumerate(found[:k]) if item in wanted]
            recall.append(len(hits) / size)
            precision.append(len(hits) / k)
            gain = sum(1 / math.log2(i + 2) for i in hits)
            ndcg.append(gain / sum(1 / math.log2(i + 2) for i in range(min(k, size))))
        assert figures[f"recall@{k}"] == pytest.approx(np.mean(recall))
        assert figures[f"precision@{k}"] == pytest.approx(np.mean(precision))
        assert figures[f"ndcg@{k}"] == pytest.approx(np.mean(ndcg))


def questions(tmp_path, rows):
    write_split(tmp_path, "eval", rows)
    items = Items([f"i{n}".encode() for n in range(ITEMS)], [[] for _ in range(ITEMS)])
    return read_user_questions(str(tmp_path), items, 1)


def test_a_user_is_asked_once_with_the_history_before_the_period(tmp_path):
    found = questions(
        tmp_path,
        [
            example("a", "i2", ["i1", "i0"], timestamp=20),
            example("b", "gone", ["i5"], timestamp=5),
            example("a", "i1", ["i0"], timestamp=10),
            example("a", "i2", ["i2", "i1", "i0"], timestamp=30),
        ],
    )
    assert found.examples.history_length.tolist() == [1, 1]
    assert found.examples.target.tolist() == [-2, 1]
    assert found.sizes.tolist() == [1, 2]
    assert found.targets.toarray().nonzero()[1].tolist() == [1, 2]


def test_one_target_each_is_asked_elsewhere(tmp_path):
    assert questions(tmp_path, [example("a", "i1"), example("b", "i1")]) is None


def test_many_users_are_a_seeded_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(several_targets, "USERS_MAX", 3)
    rows = [example(f"u{n}", f"i{t}", timestamp=t) for n in range(9) for t in (1, 2)]
    found = questions(tmp_path, rows)
    assert len(found.examples) == 3
    assert found.sizes.tolist() == [2, 2, 2]
