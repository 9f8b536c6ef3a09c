"""From transformed examples to a SavedModel."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from core.errors import ConfigError
from tests.trainer.tiny import DAY, example, transform
from trainer import features
from trainer.config import BEFORE_REFIT, ModelConfig, TrainerConfig
from trainer.run_fn import _summary, run_fn


def request(history, follows=(), now=100 * DAY):
    return {
        "timestamp": tf.constant([now], tf.int64),
        "history_item_id": tf.constant([list(history)], tf.string, shape=(1, len(history))),
        "history_timestamp": tf.constant(
            [[now - DAY * (n + 1) for n in range(len(history))]], tf.int64, shape=(1, len(history))
        ),
        "history_action": tf.constant([["like"] * len(history)], tf.string, (1, len(history))),
        "followed_topic": tf.constant([list(follows)], tf.string, shape=(1, len(follows))),
    }


@pytest.mark.nightly  # by day tests/e2e/test_local_run.py trains dcm_cr and exports it
@pytest.mark.parametrize("name", ["dcm_cr", "two_tower", "mind", "pfs", "dcm", "cr"])
def test_every_model_trains_and_exports(tiny, tmp_path, name):
    run_fn(tiny.fn_args(tmp_path, model={"name": name, "num_interests": 2}))
    loaded = tf.saved_model.load(str(tmp_path / "Format-Serving"))
    answer = loaded.embed_user(**request(["item 1", "item 5"], ["food"]))
    slots = {"two_tower": 1, "cr": 6, "dcm_cr": 7}.get(name, 2)
    assert answer["embeddings"].shape == (1, slots, 8)
    assert answer["slot_valid"].numpy().any()
    np.testing.assert_allclose(np.linalg.norm(answer["embeddings"], axis=-1), 1.0, rtol=1e-5)
    history = json.loads((tmp_path / "run/history.json").read_text())
    assert [record["epoch"] for record in history] == [1, 2]
    assert {"loss", "in_batch_accuracy", "examples_per_s", "val_recall@50"} <= set(history[0])
    assert not (tmp_path / "checkpoints").exists()
    assert list((tmp_path / "run").glob("events.out.tfevents*"))
    assert {p.name for p in (tmp_path / "Format-Serving/warm_start").iterdir()} == {
        "weights.npz",
        "model_config.json",
        "history.json",
        "vocabulary",
    }


def test_without_legacy_keras_nothing_starts(tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_USE_LEGACY_KERAS")
    with pytest.raises(ConfigError, match="TF_USE_LEGACY_KERAS=1"):
        run_fn(tiny.fn_args(tmp_path))


def test_a_transform_configuration_that_does_not_fit_is_named(tiny, tmp_path):
    fn_args = tiny.fn_args(tmp_path)
    del fn_args.custom_config["transform"]
    with pytest.raises(ConfigError, match=r"transform\.history_max_items is 50"):
        run_fn(fn_args)
    assert not Path(fn_args.serving_model_dir).exists()


@pytest.mark.nightly
def test_a_second_training_starts_from_the_first(tiny, tmp_path, caplog):
    caplog.set_level("INFO", logger="tessera")
    model = {"name": "two_tower"}
    run_fn(tiny.fn_args(tmp_path / "first", model, {"epochs": 1}))
    base = str(tmp_path / "first" / "Format-Serving")
    run_fn(tiny.fn_args(tmp_path / "second", model, {"epochs": 1}, base_model=base))
    scratch, warm = (r.getMessage() for r in caplog.records if "best epoch" in r.getMessage())
    assert "from scratch" in scratch
    assert "warm start with 24 of 24 items" in warm
    off = {"epochs": 1, "warm_start": False}
    run_fn(tiny.fn_args(tmp_path / "third", model, off, base_model=base))
    assert "from scratch" in caplog.records[-1].getMessage()


def kept(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.fault(26)
def test_one_item_and_no_topic_at_all_still_train(tmp_path):
    bare = {features.ITEM_TOPICS: [], features.FOLLOWED_TOPIC: []}
    rows = [{**example("only", ["only"] * (n % 3)), **bare} for n in range(8)]
    raw = {"train": rows, "validation": rows[:2], "corpus": rows[:1]}
    one = transform(str(tmp_path), raw)
    for name, refit in (("plain", False), ("again", True)):
        out = tmp_path / name
        run_fn(one.fn_args(out, trainer={"epochs": 1, "refit": refit}))
        loaded = tf.saved_model.load(str(out / "Format-Serving"))
        answer = loaded.embed_user(**request(["only"]))
        assert np.isfinite(answer["embeddings"]).all()
        assert not (out / "checkpoints").exists()
        assert (out / BEFORE_REFIT).exists() == refit
        assert list((out / "run").glob("events.out.tfevents*"))
        warm_start = out / "Format-Serving/warm_start"
        vocabulary = {f"vocabulary/{kind}.txt" for kind in ("items", "topics", "actions")}
        assert kept(warm_start) >= {"weights.npz", "model_config.json", "history.json"} | vocabulary


def test_a_later_training_starts_from_the_weights_before_a_refit(tiny, tmp_path):
    """Its validation examples may be among those that the refit has learned."""
    run_fn(tiny.fn_args(tmp_path, {"name": "two_tower"}, {"epochs": 1, "refit": True}))
    saved = np.load(tmp_path / "Format-Serving/warm_start/weights.npz")
    for name, same in ((BEFORE_REFIT, True), ("Format-Serving", False)):
        exported = [v.numpy() for v in tf.saved_model.load(str(tmp_path / name))._weights]
        agree = [any(np.array_equal(saved[key], value) for value in exported) for key in saved]
        assert agree and all(agree) == same


def test_an_epoch_that_was_resumed_after_its_last_batch_is_summarised_without_a_loss():
    model = SimpleNamespace(
        trainer_config=TrainerConfig(),
        trainable_weights=[np.zeros((2, 3)), np.zeros(5)],
        config=ModelConfig(),
        vocabularies=SimpleNamespace(items=["a", "b"], item_own_id=np.array([True, False])),
    )
    history = [{"epoch": 1, "loss": None, "val_recall@50": 0.25}]
    trained = SimpleNamespace(model=model, history=history, started="from scratch")
    assert _summary(trained) == (
        "dcm_cr: 1 epoch from scratch, best epoch 1 with val_recall@50 0.2500, "
        "2 items (1 by topics and features alone), 11 parameters"
    )
