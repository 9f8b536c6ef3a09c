"""A training as a whole: what `refit` learns from and for how long."""

import dataclasses
import math

import numpy as np
import pytest

from tests.trainer.tiny import TRANSFORM, example, raw_splits, transform
from trainer import features
from trainer.config import ModelConfig, TrainerConfig
from trainer.fit import TrainingJob, best_epoch, fit

NEWEST, FEW = "item 23", "item 22"
NEW = NEWEST.encode()
BATCH, LEAST = 32, 5


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    """A data set whose newest item is a target of validation examples alone, another one of two."""
    raw = raw_splits()
    raw["train"] = [row for row in raw["train"] if row[features.ITEM_ID] != [NEWEST]]
    fewer = [row for row in raw["train"] if row[features.ITEM_ID] == [FEW]][2:]
    raw["train"] = [row for row in raw["train"] if row not in fewer]
    raw["validation"] += [example(NEWEST, ["item 3"], user="late")] * 8
    return transform(str(tmp_path_factory.mktemp("late")), raw)


def job(data, folder, seen=None, **trainer):
    settings = {"batch_size": BATCH, "epochs": 3, "uniform_negatives": 8, "learning_rate": 0.01}
    return TrainingJob(
        examples=[f"{data.examples}/Split-train/*"],
        transform_graph=data.graph,
        # Several slots: a training without validation has no figures of them to judge.
        model=ModelConfig(
            name="dcm",
            num_interests=2,
            embedding_dim=8,
            hidden_units=(8,),
            item_min_targets=LEAST,
        ),
        trainer=TrainerConfig(**settings, **trainer),
        transform=TRANSFORM,
        checkpoint_dir=str(folder / "checkpoints"),
        log_dir=str(folder / "log"),
        on_epoch=None if seen is None else seen.append,
    )


def same(one, other):
    for ours, theirs in zip(one.trainable_weights, other.trainable_weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def refitted(late, folder, seen):
    """Refits; returns what came of it and what `before_refit` was given."""
    kept = []
    wanted = dataclasses.replace(job(late, folder, seen, refit=True), before_refit=kept.append)
    return fit(wanted), *kept


@pytest.mark.slow("two trainings")
def test_a_refit_learns_from_both_splits_for_as_long_as_was_best(late, tmp_path):
    seen = []
    again, chosen = refitted(late, tmp_path, seen)
    assert [record["epoch"] for record in seen] == [1, 2, 3]
    assert chosen.transform_output is again.transform_output
    # Targets of the newest item: none in training, eight in validation, five are needed.
    for trained, known in ((chosen, False), (again, True)):
        found = trained.model.vocabularies
        row = 1 + found.items.index(NEW)
        assert (row in found.trained_rows(), found.id_rows()[row] == row) == (known, known)
    found, tower = chosen.model.vocabularies, chosen.model.item_tower
    few = 1 + np.flatnonzero(found.item_trained & ~found.item_own_id)
    assert len(few) and (tower.id_rows.numpy()[few] > len(found.items)).all()
    assert set(few) <= set(chosen.model.drawn_rows.numpy())
    examples = len(late.raw["train"]) + len(late.raw["validation"])
    best = best_epoch(again.history, again.model.trainer_config)
    assert int(again.model.steps) == best * math.ceil(examples / BATCH)
    # What is there is not trained again, and the same model comes out.
    resumed = fit(job(late, tmp_path, refit=True))
    same(again.model, resumed.model)
    again.checkpoints.remove()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.nightly
def test_the_model_before_a_refit_is_that_of_a_training_without(late, tmp_path):
    plain = fit(job(late, tmp_path / "plain"))
    again, chosen = refitted(late, tmp_path / "again", [])
    same(plain.model, chosen.model)
    timeless = [
        [{k: v for k, v in record.items() if k != "examples_per_s"} for record in history]
        for history in (plain.history, again.history)
    ]
    assert timeless[0] == timeless[1]


def test_the_first_of_equally_good_epochs_is_the_best():
    history = [{"epoch": n, "val_recall@50": v} for n, v in ((1, 0.2), (2, 0.4), (3, 0.4))]
    assert best_epoch(history, TrainerConfig()) == 2
