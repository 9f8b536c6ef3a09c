"""Checkpoints: a killed training resumes where it was."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf
from pydantic import BaseModel

from trainer.model import RetrievalModel

_LOG = logging.getLogger("tessera")


class Progress(BaseModel):
    """How far a training has come.

    Attributes:
      key: names the training; a checkpoint with another key is not taken up.
      epoch: 0-based epoch to go on with.
      batch: batches of that epoch that are done.
      history: records of the finished epochs.
      best: highest validation metric so far, None before the first validation.
      best_epoch: 1-based epoch of `best`.
    """

    key: str
    epoch: int = 0
    batch: int = 0
    history: list[dict[str, Any]] = []
    best: float | None = None
    best_epoch: int = 0


class Checkpoints:
    """The checkpoint of a running training and the weights of its best epoch."""

    def __init__(self, folder: str, model: RetrievalModel, key: str) -> None:
        """Looks into a folder.

        Args:
          folder: the training's own folder; made if needed.
          model: a built and compiled model.
          key: names the training.
        """
        self.folder = folder
        self._key = key
        self._progress = tf.Variable("", dtype=tf.string, name="progress")
        # Metrics start anew with every epoch, and theirs are not the same on every replica.
        metrics = {id(weight) for metric in model.metrics for weight in metric.variables}
        variables = [weight for weight in model.variables if id(weight) not in metrics]
        everything = tf.train.Checkpoint(
            variables=variables, optimizer=model.optimizer, progress=self._progress
        )
        weights = tf.train.Checkpoint(weights=list(model.trainable_weights))
        self._last = tf.train.CheckpointManager(everything, f"{folder}/last", max_to_keep=1)
        self._best = tf.train.CheckpointManager(weights, f"{folder}/best", max_to_keep=1)

    def resume(self) -> Progress:
        """Restores the last checkpoint of this training, or starts from nothing."""
        path = self._last.latest_checkpoint
        if path is not None:
            saved = self._read_progress(path)
            if saved is not None and saved.key == self._key:
                self._last.checkpoint.restore(path).assert_existing_objects_matched()
                return saved
            _LOG.warning("%s holds the checkpoint of another training; starting anew", self.folder)
        return Progress(key=self._key)

    def save(self, progress: Progress) -> None:
        """Writes model, optimizer and progress; the one before goes once it is whole."""
        self._progress.assign(progress.model_dump_json())
        self._last.save()

    def save_best(self) -> None:
        """Writes the weights of the best epoch."""
        self._best.save()

    def restore_best(self) -> None:
        """Puts the weights of the best epoch back."""
        path = self._best.latest_checkpoint
        if path is not None:
            self._best.checkpoint.restore(path).assert_existing_objects_matched()

    def remove(self) -> None:
        """Removes the folder; called once the training's result is safe."""
        shutil.rmtree(Path(self.folder), ignore_errors=True)

    def _read_progress(self, path: str) -> Progress | None:
        try:
            reader = tf.train.load_checkpoint(path)
            text = reader.get_tensor("progress/.ATTRIBUTES/VARIABLE_VALUE")
            return Progress.model_validate(json.loads(text))
        except (ValueError, OSError, tf.errors.OpError) as error:
            _LOG.warning("%s cannot be read (%s); starting anew", path, error)
            return None
