"""Reading transformed examples."""

import numpy as np
import pytest

from core.errors import TrainingError
from trainer import inputs

ITEM, HISTORY = "item_id_xf", "history_item_id_xf"


@pytest.fixture(scope="module")
def files(tiny):
    return inputs.split_files([f"{tiny.examples}/Split-train/*"], "train")


@pytest.fixture(scope="module")
def spec(tiny):
    return tiny.output().transformed_feature_spec()


def batches(files, spec, size=16, seed=1):
    dataset = inputs.train_batches(files, spec, batch_size=size, shuffle_buffer=1000, seed=seed)
    return list(dataset.as_numpy_iterator())


def rows(columns):
    return sorted(
        (int(i), tuple(h[h > 0].tolist()))
        for i, h in zip(columns[ITEM][:, 0], columns[HISTORY], strict=True)
    )


def test_every_example_comes_once_per_epoch_and_only_one_batch_is_partial(files, spec):
    found = batches(files, spec)
    whole = inputs.read_columns(files, spec)
    assert sorted(row for batch in found for row in rows(batch)) == rows(whole)
    assert sum(len(batch[ITEM]) != 16 for batch in found) <= 1


def test_batches_are_trimmed_to_their_longest_history(files, spec):
    for batch in batches(files, spec):
        longest = (batch[HISTORY] > 0).sum(1).max()
        assert batch[HISTORY].shape[1] == max(longest, 1)
        assert batch["history_timestamp_xf"].shape == batch[HISTORY].shape
        assert batch["history_action_xf"].shape == batch[HISTORY].shape


def test_histories_of_a_batch_are_about_equally_long(files, spec):
    spread = [np.ptp((batch[HISTORY] > 0).sum(1)) for batch in batches(files, spec)]
    assert np.mean(spread) < 2


def test_the_seed_decides_the_order(files, spec):
    first, again, other = (batches(files, spec, seed=s) for s in (1, 1, 2))
    assert all((a[ITEM] == b[ITEM]).all() for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a[ITEM], b[ITEM]) for a, b in zip(first, other, strict=True))


def test_a_batch_larger_than_the_split_holds_all_of_it(files, spec):
    (batch,) = batches(files, spec, size=10_000)
    assert rows(batch) == rows(inputs.read_columns(files, spec))


def test_a_sample_is_no_larger_than_asked_and_repeatable(files, spec):
    sample = inputs.read_columns(files, spec, limit=10, seed=3)
    assert len(sample[ITEM]) == 10
    again = inputs.read_columns(files, spec, limit=10, seed=3)
    np.testing.assert_array_equal(sample[ITEM], again[ITEM])


def test_topics_are_laid_out_by_item():
    corpus = {ITEM: np.array([[3], [1]]), "item_topics_xf": np.array([[7, 8], [9, 0]])}
    table = inputs.item_topics_table(corpus, 5)
    assert table.tolist() == [[0, 0], [9, 0], [0, 0], [7, 8], [0, 0]]


def test_a_missing_split_is_named(tiny):
    with pytest.raises(TrainingError, match="split 'nothing' has no transformed examples"):
        inputs.split_files([f"{tiny.examples}/Split-train/*"], "nothing")


def test_no_tuning_thread_keeps_the_end_of_an_epoch_waiting(files, spec):
    dataset = inputs.train_batches(files, spec, batch_size=4, shuffle_buffer=50, seed=1)
    assert dataset.options().autotune.enabled is False
