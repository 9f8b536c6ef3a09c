"""Exact validation against a plain ranking, and the health figures."""

import numpy as np
import pytest

from tests.trainer.test_loop import Setup
from trainer import diagnostics, validation
from trainer.validation import Validator


@pytest.fixture(scope="module")
def setup(tiny, tmp_path_factory):
    return Setup(tiny, tmp_path_factory.mktemp("validation"))


def test_ranks_are_those_of_a_plain_loop(setup):
    validator = setup.loop._validator
    model, columns = setup.model, validator._examples
    items = validator._item_vectors().numpy()
    import tensorflow as tf

    from trainer.validation import all_slots

    tensors = {name: tf.constant(column) for name, column in columns.items()}
    vectors = tf.gather(items, tensors["history_item_id_xf"])
    users, valid = (part.numpy() for part in all_slots(model, tensors, vectors))
    known = len(model.vocabularies.items)
    expected = []
    for row in range(len(users)):
        scores = (users[row][valid[row]] @ items[1 : known + 1].T).max(0)
        target = columns["item_id_xf"][row, 0] - 1
        own = scores[target]
        for seen in columns["history_item_id_xf"][row]:
            if seen > 0:
                scores[seen - 1] = -np.inf
        expected.append((np.delete(scores, target) > own).sum())
    np.testing.assert_array_equal(validator.ranks(), expected)


def test_blocks_of_items_change_nothing_and_a_changed_model_is_seen(setup, monkeypatch):
    columns = setup.loop._validator._examples
    catalogue = np.arange(1, len(setup.model.vocabularies.items) + 1)
    whole = Validator(setup.model, columns, catalogue)
    monkeypatch.setattr(validation, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(validation, "_SCORES_PER_BATCH", 3 * whole._absent.shape[0])
    monkeypatch.setattr(validation, "_SCORES_PER_BLOCK", 3 * 8 * 5)
    parts = Validator(setup.model, columns, catalogue)
    assert parts._batch == 3 and 1 <= parts._block < whole._block
    np.testing.assert_array_equal(parts.ranks(), whole.ranks())
    assert parts.health() == pytest.approx(whole.health())
    table = setup.model.item_tower.ids.embeddings
    before = table.numpy()
    table.assign(before[::-1])
    try:
        changed = parts.ranks()
        np.testing.assert_array_equal(changed, whole.ranks())
    finally:
        table.assign(before)
    assert (changed != parts.ranks()).any()


def test_a_target_outside_the_catalogue_is_never_found(setup):
    columns = {n: c[:4] for n, c in setup.loop._validator._examples.items()}
    validator = Validator(setup.model, columns, catalogue=np.array([1]))
    missing = columns["item_id_xf"][:, 0] != 1
    assert (validator.ranks()[missing] >= setup.model.vocabularies.item_rows).all()


def test_no_validation_example_gives_zeros(setup):
    columns = {n: c[:0] for n, c in setup.loop._validator._examples.items()}
    validator = Validator(setup.model, columns, np.array([1]))
    assert validator.metrics((10,)) == {"val_recall@10": 0.0, "val_ndcg@10": 0.0}
    assert validator.health() == {}


def health(embeddings, best, slots=2, users=100):
    history_slot = np.tile(np.arange(4) % slots, (users, 1))
    return diagnostics.slot_health(embeddings, np.ones((users, slots), bool), history_slot, best)


@pytest.mark.fault(32)
def test_collapsed_slots_are_found():
    same = np.ones((100, 2, 3), np.float32)
    found = health(same, np.zeros(100, int))
    assert found["slot_cosine"] == pytest.approx(1.0)
    assert found["dead_slots"] == 1
    assert found["slot_use"] == pytest.approx(0.0)
    assert "nearly equal" in diagnostics.warnings(found, 2)[0]


@pytest.mark.fault(32)
def test_dead_slots_are_found():
    apart = np.tile(np.eye(3, dtype=np.float32)[None], (90, 1, 1))
    found = health(apart, np.zeros(90, int), slots=3, users=90)
    assert found["slot_cosine"] == pytest.approx(0.0)
    assert "2 of 3 slots" in diagnostics.warnings(found, 3)[0]


@pytest.mark.fault(32)
def test_healthy_slots_raise_no_warning():
    apart = np.tile(np.eye(2, dtype=np.float32)[None], (100, 1, 1))
    found = health(apart, np.arange(100) % 2)
    assert found["cluster_balance"] == pytest.approx(1.0)
    assert found["slot_use"] == pytest.approx(1.0)
    assert found["user_norm"] == pytest.approx(1.0)
    assert diagnostics.warnings(found, 2) == []
