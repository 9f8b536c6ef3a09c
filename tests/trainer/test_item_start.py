"""Where training starts: vectors of what is engaged with together."""

import numpy as np
import pytest
from scipy import sparse

from tests.trainer.tiny import TRANSFORM
from trainer import features, inputs
from trainer.config import ModelConfig, TrainerConfig
from trainer.fit import TrainingJob, fit
from trainer.item_start import co_occurrence, start_from

GROUPS, SIZE, DIM = 3, 12, 4
ROWS = 1 + GROUPS * SIZE + 2  # padding, items, two unknown buckets


def grouped_counts(noise=0.05, seed=0):
    random = np.random.default_rng(seed)
    group = (np.arange(ROWS) - 1) // SIZE
    rate = np.where(group[:, None] == group[None], 5.0, noise)
    counts = np.triu(random.poisson(rate), 1).astype(np.float32)
    counts[0] = counts[-2:] = 0
    counts[:, -2:] = 0
    return sparse.csr_matrix(counts + counts.T)


def test_items_that_are_engaged_with_together_start_near_each_other():
    topics = np.zeros((ROWS, 2), np.int64)
    topics[1:-2, 0] = 1 + np.arange(GROUPS * SIZE) // SIZE
    start = start_from(grouped_counts(), topics, 1 + GROUPS, DIM)
    assert start.counted.tolist() == [False, *[True] * GROUPS * SIZE, False, False]
    vectors = (start.items + start.topics[topics[:, 0]])[1:-2]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-4)
    near = vectors @ vectors.T
    same = np.arange(GROUPS * SIZE)[:, None] // SIZE == np.arange(GROUPS * SIZE)[None] // SIZE
    assert near[same].mean() > near[~same].mean() + 0.5
    # Topic and group are one here: an item of no other knowledge starts among its group.
    for topic in range(1, 1 + GROUPS):
        nearest = np.argsort(-(vectors @ start.topics[topic]))[:SIZE]
        assert (nearest // SIZE == topic - 1).all()


def test_fewer_items_than_dimensions_place_nothing():
    counts = sparse.csr_matrix(np.ones((3, 3), np.float32) - np.eye(3, dtype=np.float32))
    start = start_from(counts, np.zeros((3, 1), np.int64), 2, 8)
    assert not start.counted.any()
    assert not start.items.any()


def test_pairs_are_counted_once_each_way(tiny):
    spec = tiny.output().transformed_feature_spec()
    files = inputs.split_files([f"{tiny.examples}/Split-train/*"], "train")
    rows = 40
    counts = co_occurrence(files, spec, rows).toarray()
    want = np.zeros((rows, rows))
    columns = inputs.read_columns(files, spec)
    targets = columns[features.transformed_name(features.ITEM_ID)][:, 0]
    for history, target in zip(
        columns[features.transformed_name(features.HISTORY_ITEM_ID)], targets, strict=True
    ):
        for item in history[(history > 0) & (history != target)]:
            want[item, target] += 1
            want[target, item] += 1
    np.testing.assert_array_equal(counts, want)


def trained(tiny, folder, item_start, name="dcm_cr"):
    return fit(
        TrainingJob(
            examples=[f"{tiny.examples}/Split-train/*"],
            transform_graph=tiny.graph,
            model=ModelConfig(name=name, embedding_dim=4, hidden_units=(8,), item_start=item_start),
            trainer=TrainerConfig(batch_size=64, epochs=1, steps_per_epoch=1),
            transform=TRANSFORM,
            checkpoint_dir=str(folder / "checkpoints"),
            log_dir=str(folder / "log"),
        )
    )


def test_a_training_starts_there(tiny, tmp_path):
    found = trained(tiny, tmp_path, "co_occurrence", "two_tower")
    assert found.started.startswith("from the co-occurrence of")


@pytest.mark.nightly
def test_two_trainings_from_there_end_alike(tiny, tmp_path):
    first, again = (trained(tiny, tmp_path / name, "co_occurrence") for name in "ab")
    for one, other in zip(
        first.model.trainable_weights, again.model.trainable_weights, strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert trained(tiny, tmp_path / "c", "random").started == "from scratch"
