"""Weights follow their tokens from one training to the next."""

import dataclasses

import numpy as np
import pytest

from core.errors import TrainingError
from tests.trainer.tiny import TRANSFORM
from trainer.config import ModelConfig, TrainerConfig
from trainer.model import RetrievalModel
from trainer.vocabularies import load_vocabularies
from trainer.warm_start import load_warm_start, named_weights, remap_rows, save_warm_start


@pytest.fixture(scope="module")
def vocabularies(tiny):
    return load_vocabularies(tiny.output(), TRANSFORM)


def make(tiny, vocabularies, **settings):
    config = ModelConfig(**{"embedding_dim": 8, "hidden_units": (8,), **settings})
    topics = np.zeros((vocabularies.item_rows, 3), np.int32)
    model = RetrievalModel(config, TrainerConfig(), TRANSFORM, vocabularies, topics)
    model.build_from(tiny.output().transformed_feature_spec())
    return model


def test_rows_follow_tokens_through_growth_shrinkage_and_reordering():
    old = np.arange(12.0).reshape(6, 2)  # padding, a, b, c, two buckets
    new = -np.ones((6, 2))
    table, copied = remap_rows(new, [b"c", b"new", b"a"], old, [b"a", b"b", b"c"])
    assert table.tolist() == [[-1, -1], [6, 7], [-1, -1], [2, 3], [8, 9], [10, 11]]
    assert copied == 2


def test_other_numbers_of_buckets_are_not_copied():
    table, copied = remap_rows(np.zeros((2, 1)), [], np.ones((3, 1)), [b"a"])
    assert table.tolist() == [[0], [1]]  # one bucket each: copied
    table, copied = remap_rows(np.zeros((3, 1)), [], np.ones((3, 1)), [b"a"])
    assert not table.any()
    assert copied == 0


def test_a_model_comes_back_as_it_was(tiny, vocabularies, tmp_path):
    first = make(tiny, vocabularies)
    save_warm_start(first, str(tmp_path), [])
    second = make(tiny, vocabularies)
    taken = load_warm_start(second, str(tmp_path))
    assert taken["items"] == len(vocabularies.items)
    mine, theirs = named_weights(first), named_weights(second)
    for name, weight in mine.items():
        if weight.shape[0] in (vocabularies.item_rows, vocabularies.topic_rows):
            np.testing.assert_array_equal(weight[1:], theirs[name][1:])  # row 0 is padding
        elif "action" not in name:
            np.testing.assert_array_equal(weight, theirs[name])


def test_items_keep_their_vectors_in_another_vocabulary(tiny, vocabularies, tmp_path):
    first = make(tiny, vocabularies)
    save_warm_start(first, str(tmp_path), [])
    items = [b"brand new", *vocabularies.items[:0:-1]]
    other = dataclasses.replace(vocabularies, items=items, item_counts=np.ones(len(items)))
    second = make(tiny, other)
    assert load_warm_start(second, str(tmp_path))["items"] == len(items) - 1
    before, after = first.item_tower.ids.embeddings, second.item_tower.ids.embeddings
    for row, token in enumerate(items[1:], start=2):
        np.testing.assert_array_equal(after[row], before[1 + vocabularies.items.index(token)])


def test_another_model_takes_over_what_fits(tiny, vocabularies, tmp_path):
    save_warm_start(make(tiny, vocabularies, name="two_tower"), str(tmp_path), [])
    model = make(tiny, vocabularies, name="dcm_cr", num_interests=2)
    topic_tower = [weight.numpy() for weight in model.topic_tower.trainable_weights]
    taken = load_warm_start(model, str(tmp_path))
    assert taken["items"] == len(vocabularies.items)
    for before, after in zip(topic_tower, model.topic_tower.trainable_weights, strict=True):
        np.testing.assert_array_equal(before, after)


def test_another_embedding_dimension_is_refused_with_both_values(tiny, vocabularies, tmp_path):
    save_warm_start(make(tiny, vocabularies), str(tmp_path), [])
    model = make(tiny, vocabularies, embedding_dim=4)
    with pytest.raises(TrainingError, match="embedding_dim=8, this run has 4"):
        load_warm_start(model, str(tmp_path))


def test_a_damaged_folder_is_named(tiny, vocabularies, tmp_path):
    model = make(tiny, vocabularies)
    save_warm_start(model, str(tmp_path), [])
    (tmp_path / "weights.npz").write_bytes(b"PK")
    with pytest.raises(TrainingError, match=r"cannot be read.*warm_start=false"):
        load_warm_start(model, str(tmp_path))
