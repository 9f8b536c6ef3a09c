"""Entry point of the Trainer component; it only wires the parts together."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras

from core.digest import json_digest
from core.errors import ConfigError
from core.files import write_json
from trainer import features, inputs
from trainer.callbacks import TensorBoardLog
from trainer.checkpoints import Checkpoints
from trainer.config import ModelConfig, TrainerConfig, TransformConfig
from trainer.export import export_model
from trainer.loop import TrainingLoop
from trainer.model import RetrievalModel
from trainer.validation import Validator
from trainer.vocabularies import Vocabularies, load_vocabularies
from trainer.warm_start import load_warm_start, save_warm_start

_LOG = logging.getLogger("tessera")
_WARM_START = "warm_start"


def run_fn(fn_args: Any) -> None:
    """Trains, validates and exports a model.

    Args:
      fn_args: `tfx.components.FnArgs`; its `custom_config` holds the JSON of `model`,
        `trainer` and `transform`, the `checkpoint_dir` and the `code_digest`.

    Raises:
      ConfigError: the process runs without legacy Keras, or a setting is missing.
      TrainingError: training cannot go on.
    """
    if os.environ.get("TF_USE_LEGACY_KERAS") != "1":
        raise ConfigError(
            "TF_USE_LEGACY_KERAS=1 must be in the environment before TensorFlow loads"
        )
    custom = fn_args.custom_config or {}
    model_config = ModelConfig.from_json(custom["model"])
    config = TrainerConfig.from_json(custom["trainer"])
    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    transform = _transform_config(custom, transform_output)
    tf_keras.utils.set_random_seed(config.seed)

    spec = transform_output.transformed_feature_spec()
    corpus = inputs.read_columns(
        inputs.split_files(fn_args.train_files, features.CORPUS_SPLIT), spec
    )
    vocabularies = load_vocabularies(transform_output, transform)
    model = RetrievalModel(
        model_config,
        config,
        transform,
        vocabularies,
        inputs.item_topics_table(corpus, vocabularies.item_rows),
    )
    epoch_steps = _epoch_steps(config, vocabularies, corpus)
    model.compile(optimizer=_optimizer(config, epoch_steps))
    model.build_from(spec)
    started = _start_warm(model, fn_args.base_model, config)
    checkpoints = Checkpoints(custom["checkpoint_dir"], model, _training_key(custom, fn_args))
    loop = _training_loop(model, fn_args, spec, corpus, checkpoints, epoch_steps)
    history = loop.run()

    export_model(model, transform_output, fn_args.serving_model_dir)
    save_warm_start(model, os.path.join(fn_args.serving_model_dir, _WARM_START), history)
    write_json(os.path.join(fn_args.model_run_dir, "history.json"), history)
    checkpoints.remove()
    _LOG.info("%s", _summary(model, history, started))


def _transform_config(custom: Mapping[str, Any], transform_output: Any) -> TransformConfig:
    """Reads the transform configuration and compares it with the transformed features.

    Raises:
      ConfigError: it is not the one that the transform graph was built with.
    """
    config = TransformConfig.from_json(custom.get("transform") or "{}")
    spec = transform_output.transformed_feature_spec()
    widths = {
        features.HISTORY_ITEM_ID: ("history_max_items", config.history_max_items),
        features.FOLLOWED_TOPIC: ("follows_max_topics", config.follows_max_topics),
        features.ITEM_TOPICS: ("item_topics_max", config.item_topics_max),
    }
    for name, (key, value) in widths.items():
        found = spec[features.transformed_name(name)].shape[0]
        if found != value:
            raise ConfigError(
                f"transform.{key} is {value}, but the transformed feature {name!r} is {found} "
                "wide; give the Trainer's custom_config the 'transform' of the Transform component"
            )
    return config


def _start_warm(model: RetrievalModel, base_model: str | None, config: TrainerConfig) -> str:
    """Takes the baseline's weights over where there are any; returns words for the summary."""
    folder = os.path.join(base_model, _WARM_START) if base_model else ""
    if not config.warm_start or not folder or not os.path.isdir(folder):
        return "from scratch"
    taken = load_warm_start(model, folder)
    return f"warm start with {taken['items']:,} of {len(model.vocabularies.items):,} items"


def _training_key(custom: Mapping[str, Any], fn_args: Any) -> str:
    """Names a training: its configuration, code and input."""
    named = {key: custom.get(key) for key in ("model", "trainer", "transform", "code_digest")}
    return json_digest({**named, "input": [*fn_args.train_files, fn_args.base_model or ""]})


def _epoch_steps(
    config: TrainerConfig, vocabularies: Vocabularies, corpus: Mapping[str, np.ndarray]
) -> int:
    """Batches per epoch; the item counts hold the training targets and the corpus once."""
    rows = len(corpus[features.transformed_name(features.ITEM_ID)])
    examples = max(int(vocabularies.item_counts.sum()) - rows, 1)
    return config.steps_per_epoch or math.ceil(examples / config.batch_size)


def _optimizer(config: TrainerConfig, epoch_steps: int) -> tf_keras.optimizers.Optimizer:
    """Adam with a cosine decay over all epochs."""
    rate = tf_keras.optimizers.schedules.CosineDecay(
        config.learning_rate,
        decay_steps=epoch_steps * config.epochs,
        alpha=config.learning_rate_final_share,
    )
    return tf_keras.optimizers.Adam(rate)


def _training_loop(
    model: RetrievalModel,
    fn_args: Any,
    spec: Mapping[str, Any],
    corpus: Mapping[str, np.ndarray],
    checkpoints: Checkpoints,
    epoch_steps: int,
) -> TrainingLoop:
    """Puts training batches, validation and logs around a model."""
    config = model.trainer_config
    files = inputs.split_files(fn_args.train_files, features.TRAIN_SPLIT)

    def epoch_batches(epoch: int) -> tf.data.Dataset:
        return inputs.train_batches(
            files,
            spec,
            batch_size=config.batch_size,
            shuffle_buffer=config.shuffle_buffer_examples,
            seed=config.seed + 7919 * epoch,
        )

    examples = inputs.read_columns(
        inputs.split_files(fn_args.train_files, features.VALIDATION_SPLIT),
        spec,
        limit=config.validation_max_examples,
        seed=config.seed,
    )
    catalogue = corpus[features.transformed_name(features.ITEM_ID)][:, 0]
    return TrainingLoop(
        model,
        epoch_batches,
        Validator(model, examples, catalogue),
        config,
        checkpoints,
        TensorBoardLog(fn_args.model_run_dir),
        epoch_steps,
    )


def _summary(model: RetrievalModel, history: list[dict[str, Any]], started: str) -> str:
    metric = f"val_recall@{model.trainer_config.early_stopping_metric_k}"
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    best = max(history, key=lambda record: record[metric])
    # A training resumed at the very end of an epoch has seen no batch of it.
    loss = "" if best["loss"] is None else f"loss {best['loss']:.3f}, "
    epochs = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
    return (
        f"{model.config.name}: {epochs} {started}, best epoch {best['epoch']} with "
        f"{metric} {best[metric]:.4f}, {loss}"
        f"{len(model.vocabularies.items):,} items, {parameters:,} parameters"
    )
