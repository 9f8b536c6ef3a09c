"""EASE, RP3beta and ALS beside plain NumPy, and where they are left out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from components.config import EvaluatorConfig
from components.evaluator import learned_floors
from components.evaluator.blessing import Evidence, decide
from components.evaluator.examples import read_eval_examples
from components.evaluator.floors import Floors
from components.evaluator.items import Items
from components.evaluator.learned_floors import ImplicitAls, ease, rp3beta
from components.evaluator.training_log import TrainingLog, read_training_log
from tests.components.raw_examples import example, write_split

ITEMS = 12


def a_log(seed: int = 0, users: int = 30, items: int = ITEMS, events: int = 150) -> TrainingLog:
    random = np.random.default_rng(seed)
    user = random.integers(0, users, events).astype(np.int32)
    # Two circles of items, so that neighbours mean something.
    item = (random.integers(0, items // 2, events) * 2 + user % 2).astype(np.int32)
    nothing = np.zeros(0, np.int32)
    counts = np.bincount(item, minlength=items)
    return TrainingLog(user, item, nothing, nothing, counts, counts > 0, counts, np.arange(users))


def dense(log: TrainingLog) -> np.ndarray:
    matrix = np.zeros((log.user.max() + 1, ITEMS))
    matrix[log.user, log.item] = 1.0
    return matrix


def test_ease_is_ridge_regression_of_each_item_on_all_others():
    log, l2 = a_log(), 7.0
    matrix = dense(log)
    weights = ease(log, ITEMS, l2)
    for item in range(ITEMS):
        others = np.delete(np.arange(ITEMS), item)
        x, y = matrix[:, others], matrix[:, item]
        want = np.linalg.solve(x.T @ x + l2 * np.eye(len(others)), x.T @ y)
        np.testing.assert_allclose(weights[others, item], want, atol=2e-4)
        assert weights[item, item] == 0.0


def test_rp3beta_is_a_walk_over_users_damped_by_popularity():
    log, beta = a_log(), 0.4
    matrix = dense(log)
    popularity = matrix.sum(axis=0)
    walk = (matrix / popularity).T @ (matrix / matrix.sum(axis=1, keepdims=True))
    want = walk / popularity**beta
    np.fill_diagonal(want, 0.0)
    np.testing.assert_allclose(rp3beta(log, ITEMS, 100, beta).toarray(), want, rtol=1e-5)


def test_rp3beta_of_a_large_catalogue_keeps_the_strongest():
    kept = rp3beta(a_log(), ITEMS, 2).toarray()
    whole = rp3beta(a_log(), ITEMS, 100).toarray()
    for row in range(ITEMS):
        assert (kept[row] > 0).sum() <= 2
        assert kept[row].max() == whole[row].max()


def test_als_scores_items_of_the_own_circle_above_the_others():
    scores = ImplicitAls(a_log(), ITEMS).scores(sparse.csr_matrix(np.eye(ITEMS, dtype=np.float32)))
    same = np.arange(ITEMS)[:, None] % 2 == np.arange(ITEMS)[None] % 2
    assert scores[same].mean() > 2 * abs(scores[~same].mean())


def test_als_of_large_data_has_shorter_vectors_but_never_too_short_ones(monkeypatch):
    log = a_log()
    whole = ImplicitAls(log, ITEMS).factors
    monkeypatch.setattr(learned_floors, "_ALS_FACTORS_MIN", 2)
    cells = 4 * (ITEMS + int(log.user.max()) + 1)
    for most, factors in ((cells, 4), (cells - 1, 3), (0, 2)):
        monkeypatch.setattr(learned_floors, "_ALS_CELLS_MAX", most)
        assert ImplicitAls(log, ITEMS).factors == factors < whole


@pytest.fixture
def world(tmp_path):
    random = np.random.default_rng(2)
    names = [f"i{n}" for n in range(ITEMS)]
    rows = [
        example(f"u{n % 9}", names[random.integers(ITEMS)], [names[random.integers(ITEMS)]])
        for n in range(90)
    ]
    write_split(tmp_path, "train", rows)
    write_split(tmp_path, "eval", [example("z", "i0", ["i3", "i4"]), example("y", "i1", [])])
    items = Items([name.encode() for name in names], [[] for _ in names])
    log = read_training_log(str(tmp_path), items)
    return log, items, read_eval_examples(str(tmp_path), items, 100, 0)


def test_every_floor_ranks_unseen_items_and_falls_back_to_popularity(world):
    log, items, examples = world
    lists = Floors(log, items, 5).rank(examples, 8)
    for name in ("ease", "rp3beta", "als"):
        assert lists[name].shape == (2, 5)
        assert not {3, 4} & set(lists[name][0].tolist())
        np.testing.assert_array_equal(lists[name][1], lists["popularity"][1])


def test_ease_is_left_out_of_large_catalogues_with_the_reason(world):
    log, items, examples = world
    floors = Floors(log, items, 5, ease_max_items=ITEMS - 1)
    assert "ease" not in floors.rank(examples, 8)
    assert "evaluator.ease_max_items" in floors.left_out["ease"]


def decided(model: float, **floors: float):
    measured = Evidence(
        metrics={"recall@100": model},
        floors={name: {"recall@100": value} for name, value in floors.items()},
        slices={},
        n_examples=10,
    )
    return decide(measured, EvaluatorConfig())


def test_a_model_below_the_best_personalised_floor_is_refused_with_the_way_to_allow_it():
    decision = decided(0.4, popularity=0.9, ease=0.5, als=0.3)
    (floor,) = [v for v in decision["verdicts"] if v["check"] == "floor best_personalised"]
    assert not decision["blessed"] and not floor["passed"]
    assert "ease with 0.5000" in floor["reason"]
    assert "--set evaluator.must_beat_floors=[popularity]" in floor["reason"]


def test_popularity_does_not_count_as_personalised():
    assert decided(0.6, popularity=0.9, ease=0.5)["blessed"]
