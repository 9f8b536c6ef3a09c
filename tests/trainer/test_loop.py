"""Epochs: resuming, stopping early, bad numbers, the same seed twice."""

import os
import signal

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from core import progress as core_progress
from core.errors import TrainingError
from tests.markers import nightly
from tests.trainer.tiny import TRANSFORM
from trainer import inputs
from trainer.checkpoints import Checkpoints
from trainer.config import ModelConfig, TrainerConfig
from trainer.loop import TrainingLoop
from trainer.model import RetrievalModel
from trainer.validation import Validator
from trainer.vocabularies import load_vocabularies


class Setup:
    """A training of the tiny data set, made anew each time as a new process would."""

    def __init__(self, tiny, folder, key="a", name="two_tower", **settings):
        self.config = TrainerConfig(
            **{
                "batch_size": 32,
                "epochs": 3,
                "uniform_negatives": 8,
                "learning_rate": 0.01,
                **settings,
            }
        )
        tf_keras.utils.set_random_seed(self.config.seed)
        output = tiny.output()
        self.spec = output.transformed_feature_spec()
        vocabularies = load_vocabularies(output, TRANSFORM)
        patterns = [f"{tiny.examples}/Split-train/*"]
        corpus = inputs.read_columns(inputs.split_files(patterns, "corpus"), self.spec)
        topics = inputs.item_topics_table(corpus, vocabularies.item_rows)
        model = ModelConfig(name=name, embedding_dim=8, hidden_units=(8,), num_interests=2)
        self.model = RetrievalModel(model, self.config, TRANSFORM, vocabularies, topics)
        self.model.compile(optimizer=tf_keras.optimizers.Adam(self.config.learning_rate))
        self.model.build_from(self.spec)
        self.files = inputs.split_files(patterns, "train")
        validation = inputs.read_columns(inputs.split_files(patterns, "validation"), self.spec)
        self.checkpoints = Checkpoints(str(folder), self.model, key)
        validator = Validator(self.model, validation, corpus["item_id_xf"][:, 0])
        self.told = []
        self.loop = TrainingLoop(
            self.model,
            self.batches,
            validator,
            self.config,
            self.checkpoints,
            on_epoch=self.told.append,
        )

    def batches(self, epoch):
        return inputs.train_batches(
            self.files, self.spec, batch_size=32, shuffle_buffer=1000, seed=10 + epoch
        )

    def weights(self):
        return [weight.numpy() for weight in self.model.trainable_weights]


class Kill(tf_keras.callbacks.Callback):
    """Sends this process a signal after so many batches."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


def with_callback(setup, callback):
    fit = setup.model.fit

    def fit_with(*args, callbacks, **kwargs):
        return fit(*args, callbacks=[callback, *callbacks], **kwargs)

    setup.model.fit = fit_with


def comparable(history):
    return [{k: v for k, v in record.items() if k != "examples_per_s"} for record in history]


@pytest.fixture(scope="module")
def uninterrupted(tiny, tmp_path_factory):
    """History and weights of the default model, whose training uses every kind of randomness."""
    setup = Setup(tiny, tmp_path_factory.mktemp("plain"), name="dcm_cr")
    return setup.loop.run(), setup.weights()


@pytest.mark.nightly  # so does a training that is resumed, below
def test_the_same_seed_gives_the_same_weights(tiny, tmp_path, uninterrupted):
    setup = Setup(tiny, tmp_path, name="dcm_cr")
    history = setup.loop.run()
    assert comparable(history) == comparable(uninterrupted[0])
    for mine, theirs in zip(setup.weights(), uninterrupted[1], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_training_stopped_by_sigterm_resumes_to_the_same_end(tiny, tmp_path, uninterrupted):
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        first = Setup(tiny, tmp_path, name="dcm_cr")
        whole_epoch = sum(1 for _ in first.batches(0))
        with_callback(first, Kill(whole_epoch + 3))
        with pytest.raises(TrainingError, match=r"SIGTERM.*resume"):
            first.loop.run()
        second = Setup(tiny, tmp_path, name="dcm_cr")
        saved = second.checkpoints.resume()
        assert (saved.epoch, saved.batch) == (1, 3)
        second = Setup(tiny, tmp_path, name="dcm_cr")
        history = second.loop.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [record["epoch"] for record in history] == [1, 2, 3]
    assert (len(first.told), second.told) == (1, history)
    assert comparable(history)[::2] == comparable(uninterrupted[0])[::2]
    for mine, theirs in zip(second.weights(), uninterrupted[1], strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("steps", [None, *nightly(4)])
def test_a_training_stopped_after_the_last_batch_of_an_epoch_goes_on(tiny, tmp_path, steps):
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        first = Setup(tiny, tmp_path, epochs=2, steps_per_epoch=steps)
        with_callback(first, Kill(steps or sum(1 for _ in first.batches(0))))
        with pytest.raises(TrainingError, match="SIGTERM"):
            first.loop.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    second = Setup(tiny, tmp_path, epochs=2, steps_per_epoch=steps)
    history = second.loop.run()
    assert [record["epoch"] for record in history] == [1, 2]
    assert history[0]["loss"] is None
    assert history[1]["loss"] > 0


@pytest.mark.nightly
def test_a_training_killed_between_epochs_goes_on_with_the_next(tiny, tmp_path, uninterrupted):
    first = Setup(tiny, tmp_path, name="dcm_cr")

    class Die(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.steps) > 20:
                raise KeyboardInterrupt

    with_callback(first, Die())
    with pytest.raises(KeyboardInterrupt):
        first.loop.run()
    second = Setup(tiny, tmp_path, name="dcm_cr")
    assert comparable(second.loop.run()) == comparable(uninterrupted[0])


def test_a_checkpoint_of_another_training_is_left_alone(tiny, tmp_path):
    Setup(tiny, tmp_path, key="a", epochs=1).loop.run()
    again = Setup(tiny, tmp_path, key="b")
    assert again.checkpoints.resume().epoch == 0


def test_a_damaged_checkpoint_starts_anew(tiny, tmp_path):
    Setup(tiny, tmp_path, epochs=1).loop.run()
    for path in (tmp_path / "last").glob("*.index"):
        path.write_bytes(b"not a checkpoint")
    assert Setup(tiny, tmp_path).checkpoints.resume().epoch == 0


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tiny, tmp_path):
    setup = Setup(tiny, tmp_path)

    class Poison(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.steps) > 20:
                weight = self.model.item_tower.ids.embeddings
                weight.assign(tf.fill(weight.shape, np.nan))

    with_callback(setup, Poison())
    with pytest.raises(TrainingError, match=r"loss became nan.*last good checkpoint"):
        setup.loop.run()
    kept = Setup(tiny, tmp_path)
    assert kept.checkpoints.resume().epoch >= 1
    assert all(np.isfinite(weight).all() for weight in kept.weights())


def test_training_stops_when_validation_no_longer_improves(tiny, tmp_path):
    setup = Setup(tiny, tmp_path, epochs=9, early_stopping_patience=2)
    values = iter([0.2, 0.5, 0.4, 0.3, 0.9])
    best = {}

    def metrics(ks):
        value = next(values)
        best[value] = setup.weights()
        return {f"val_recall@{k}": value for k in ks}

    setup.loop._validator.metrics = metrics
    history = setup.loop.run()
    assert [record["val_recall@50"] for record in history] == [0.2, 0.5, 0.4, 0.3]
    for mine, kept in zip(setup.weights(), best[0.5], strict=True):
        np.testing.assert_array_equal(mine, kept)


def test_steps_per_epoch_cut_an_epoch(tiny, tmp_path):
    setup = Setup(tiny, tmp_path, epochs=2, steps_per_epoch=4)
    setup.loop.run()
    assert int(setup.model.optimizer.iterations) == 8


def test_the_end_of_the_data_is_not_a_step(tiny, tmp_path):
    setup = Setup(tiny, tmp_path)
    batches = sum(1 for _ in setup.batches(0))
    for epoch in (1, 2):
        setup.model.fit(setup.batches(0), verbose=0)
        assert int(setup.model.steps) == epoch * batches
        assert int(setup.model.optimizer.iterations) == epoch * batches


def test_progress_shows_loss_accuracy_and_speed(tiny, tmp_path, monkeypatch):
    shown = []

    class Reporter:
        def start(self, label, total):
            return self

        def advance(self, amount=1, **fields):
            shown.append((amount, fields))

        def stop(self, bar):
            return None

    monkeypatch.setattr("trainer.callbacks._SHOW_SECONDS", 0.0)
    core_progress.set_reporter(Reporter())
    try:
        setup = Setup(tiny, tmp_path, epochs=1)
        setup.loop.run()
    finally:
        core_progress.set_reporter(None)
    assert sum(amount for amount, _ in shown) == int(setup.model.steps)
    assert {"epoch", "loss", "accuracy", "examples_per_s"} <= set(shown[0][1])
