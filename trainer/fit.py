"""Trains a model on transformed examples: everything but the export."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras

from core.digest import json_digest
from core.errors import ConfigError
from core.feature_config import FeaturesConfig
from trainer import features, inputs
from trainer.callbacks import TensorBoardLog
from trainer.checkpoints import Checkpoints
from trainer.config import ModelConfig, TrainerConfig, TransformConfig
from trainer.distribution import Distribution
from trainer.feature_tables import value_tables
from trainer.item_clusters import cluster_items
from trainer.item_start import apply_start, co_occurrence, start_from
from trainer.loop import TrainingLoop
from trainer.model import RetrievalModel
from trainer.optimizer import make_optimizer
from trainer.validation import Validator
from trainer.vocabularies import Vocabularies, load_vocabularies
from trainer.warm_start import load_warm_start

#: Folder of the weights by vocabulary token, inside an exported model.
WARM_START = "warm_start"
_TARGET = features.transformed_name(features.ITEM_ID)
_CLUSTER_EXAMPLES = 200_000
_FROM_SCRATCH = "from scratch"
#: Examples that are shuffled among each other.
_SHUFFLE_BUFFER = 100_000


@dataclass(frozen=True)
class TrainingJob:
    """What a training reads and how it is configured.

    Attributes:
      examples: file patterns of the transformed examples, all splits.
      transform_graph: folder of the transform graph.
      model: the model.
      trainer: optimisation and stopping.
      transform: what the transform graph was built with.
      features: those that it was built with.
      checkpoint_dir: folder of this training's checkpoints.
      log_dir: folder of the TensorBoard log.
      code_digest: of the code; another one starts the training anew.
      base_model: exported model to start from, None for a fresh start.
      on_epoch: is told the record of every epoch; of those before an interruption again.
      before_refit: is given what validation chose before a refit replaces it.
    """

    examples: Sequence[str]
    transform_graph: str
    model: ModelConfig
    trainer: TrainerConfig
    transform: TransformConfig
    checkpoint_dir: str
    log_dir: str
    code_digest: str = ""
    base_model: str | None = None
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    on_epoch: Callable[[Mapping[str, Any]], None] | None = None
    before_refit: Callable[[Trained], None] | None = None


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
      model: with the weights of its best epoch.
      transform_output: the `tft.TFTransformOutput` that made its features.
      history: one record per epoch (`TrainingLoop.run`).
      started: how it started, in words.
      checkpoints: the checkpoints, to be removed once the model is kept elsewhere.
      chief: False in a process of `multi_worker` that has nothing to export.
    """

    model: RetrievalModel
    transform_output: Any
    history: list[dict[str, Any]]
    started: str
    checkpoints: Checkpoints
    chief: bool


def fit(job: TrainingJob) -> Trained:
    """Trains and validates a model; with `refit` once more, as long, on validation data as well.

    Raises:
      ConfigError: the process runs without legacy Keras, or the transform configuration is
        not the one of the transform graph.
      TrainingError: training cannot go on.
    """
    if os.environ.get("TF_USE_LEGACY_KERAS") != "1":
        raise ConfigError(
            "TF_USE_LEGACY_KERAS=1 must be in the environment before TensorFlow loads"
        )
    distribution = Distribution.of(job.trainer)
    with distribution.lost_workers_named():
        return _fit(job, distribution)


def _fit(job: TrainingJob, distribution: Distribution) -> Trained:
    transform_output = tft.TFTransformOutput(job.transform_graph)
    _check_widths(job.transform, transform_output)
    trained = _train(job, transform_output, distribution)
    if job.trainer.refit:
        best = best_epoch(trained.history, job.trainer)
        if job.before_refit and trained.chief:
            job.before_refit(trained)
        model = _train(job, transform_output, distribution, refit_epochs=best).model
        trained = dataclasses.replace(trained, model=model)
    return trained


def best_epoch(history: Sequence[Mapping[str, Any]], config: TrainerConfig) -> int:
    """Returns the 1-based epoch of the highest validation metric, the first of equals."""
    metric = f"val_recall@{config.early_stopping_metric_k}"
    return int(max(history, key=lambda record: record[metric])["epoch"])


def _train(
    job: TrainingJob,
    transform_output: Any,
    distribution: Distribution,
    refit_epochs: int | None = None,
) -> Trained:
    """One training: with validation, or over `refit_epochs` epochs of both splits without."""
    tf_keras.utils.set_random_seed(job.trainer.seed)
    spec = transform_output.transformed_feature_spec()
    corpus = inputs.read_columns(inputs.split_files(job.examples, features.CORPUS_SPLIT), spec)
    vocabularies = load_vocabularies(transform_output, job.transform, job.features)
    if refit_epochs is not None:
        files = inputs.split_files(job.examples, features.VALIDATION_SPLIT)
        vocabularies = vocabularies.with_targets(inputs.read_columns(files, spec)[_TARGET][:, 0])
    least = job.model.item_min_targets
    vocabularies = vocabularies.with_catalogue(corpus[_TARGET][:, 0], least)
    clusters = _item_clusters(job, spec, vocabularies)
    epoch_steps = _epoch_steps(job.trainer, vocabularies, corpus)
    with distribution.scope():
        model = RetrievalModel(
            job.model,
            job.trainer,
            job.transform,
            vocabularies,
            inputs.item_topics_table(corpus, vocabularies.item_rows),
            clusters,
            value_tables(corpus, vocabularies.features, vocabularies.item_rows),
        )
        model.compile(optimizer=make_optimizer(job.trainer, epoch_steps))
        model.build_from(spec)
    started = _start_warm(model, job.base_model)
    if started == _FROM_SCRATCH and job.model.item_start == "co_occurrence":
        started = _start_counted(model, job, spec)
    folder = job.checkpoint_dir if refit_epochs is None else f"{job.checkpoint_dir}/refit"
    checkpoints = Checkpoints(folder, model, _training_key(job))
    loop = _training_loop(
        model, job, spec, corpus, checkpoints, epoch_steps, refit_epochs, distribution
    )
    history = loop.run()
    return Trained(model, transform_output, history, started, checkpoints, distribution.chief)


def _item_clusters(
    job: TrainingJob, spec: Mapping[str, Any], vocabularies: Vocabularies
) -> np.ndarray | None:
    """Offline clusters of the catalogue for `pfs`, None for every other model."""
    if job.model.name.removesuffix("_cr") != "pfs":
        return None
    examples = inputs.read_columns(
        inputs.split_files(job.examples, features.TRAIN_SPLIT),
        spec,
        limit=_CLUSTER_EXAMPLES,
        seed=job.trainer.seed,
    )
    return cluster_items(
        examples,
        item_rows=vocabularies.item_rows,
        clusters=job.model.item_clusters,
        method=job.model.item_cluster_method,
        seed=job.trainer.seed,
    )


def _check_widths(config: TransformConfig, transform_output: Any) -> None:
    """Compares a transform configuration with the transformed features.

    Raises:
      ConfigError: it is not the one that the transform graph was built with.
    """
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


def _start_warm(model: RetrievalModel, base_model: str | None) -> str:
    """Takes the baseline's weights over where there are any; returns words for the summary."""
    folder = os.path.join(base_model, WARM_START) if base_model else ""
    if not model.trainer_config.warm_start or not folder or not os.path.isdir(folder):
        return _FROM_SCRATCH
    taken = load_warm_start(model, folder)
    return f"warm start with {taken['items']:,} of {len(model.vocabularies.items):,} items"


def _start_counted(model: RetrievalModel, job: TrainingJob, spec: Mapping[str, Any]) -> str:
    """Starts from what is engaged with together; returns words for the summary."""
    files = inputs.split_files(job.examples, features.TRAIN_SPLIT)
    counts = co_occurrence(files, spec, model.vocabularies.item_rows)
    rows, dim = model.vocabularies.topic_rows, job.model.embedding_dim
    columns = model.vocabularies.features.get("items", ())
    values = {c.name: (model.item_values[c.name].numpy(), c.rows) for c in columns if c.rows}
    start = start_from(counts, model.item_topics.numpy(), rows, dim, values)
    placed = apply_start(model, start)
    return f"from the co-occurrence of {placed:,} items" if placed else _FROM_SCRATCH


def _training_key(job: TrainingJob) -> str:
    """Names a training: its configuration, code and input."""
    named = {
        "model": job.model.canonical_json(),
        "trainer": job.trainer.canonical_json(),
        "transform": job.transform.canonical_json(),
        "code_digest": job.code_digest,
    }
    if job.features:
        named["features"] = job.features.canonical_json()
    return json_digest({**named, "input": [*job.examples, job.base_model or ""]})


def _epoch_steps(
    config: TrainerConfig, vocabularies: Vocabularies, corpus: Mapping[str, np.ndarray]
) -> int:
    """Batches per epoch; the item counts hold the training targets and the corpus once."""
    rows = len(corpus[_TARGET])
    examples = max(int(vocabularies.item_counts.sum()) - rows, 1)
    return config.steps_per_epoch or math.ceil(examples / config.batch_size)


def _training_loop(
    model: RetrievalModel,
    job: TrainingJob,
    spec: Mapping[str, Any],
    corpus: Mapping[str, np.ndarray],
    checkpoints: Checkpoints,
    epoch_steps: int,
    refit_epochs: int | None,
    distribution: Distribution,
) -> TrainingLoop:
    """Puts training batches, validation and logs around a model; a refit validates nothing."""
    config = model.trainer_config
    files = inputs.split_files(job.examples, features.TRAIN_SPLIT)
    held_out = inputs.split_files(job.examples, features.VALIDATION_SPLIT)
    limit, log_dir, on_epoch = config.validation_max_examples, job.log_dir, job.on_epoch
    if refit_epochs is not None:
        config = config.model_copy(update={"epochs": refit_epochs})
        files, limit, log_dir, on_epoch = files + held_out, 0, f"{job.log_dir}/refit", None
    if distribution.replicas > 1:
        epoch_steps = math.ceil(inputs.count_examples(files) / config.batch_size)
        epoch_steps = min(epoch_steps, config.steps_per_epoch or epoch_steps)

    def epoch_batches(epoch: int) -> tf.data.Dataset:
        return inputs.train_batches(
            files,
            spec,
            batch_size=config.batch_size,
            shuffle_buffer=_SHUFFLE_BUFFER,
            seed=config.seed + 7919 * epoch,
        )

    examples = inputs.read_columns(held_out, spec, limit=limit, seed=config.seed)
    return TrainingLoop(
        model,
        epoch_batches,
        Validator(model, examples, corpus[_TARGET][:, 0]),
        config,
        checkpoints,
        TensorBoardLog(log_dir) if distribution.chief else None,
        epoch_steps,
        on_epoch,
        distribution,
    )
