"""The epochs of a training: fit, validate, keep the best, stop early, resume."""

from __future__ import annotations

import logging
import signal
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from core.errors import TrainingError
from core.progress import Bar, track
from trainer import diagnostics
from trainer.callbacks import FiniteLoss, ProgressCallback, StopSignals, TensorBoardLog
from trainer.checkpoints import Checkpoints, Progress
from trainer.config import TrainerConfig
from trainer.distribution import Distribution
from trainer.model import RetrievalModel
from trainer.validation import Validator

_LOG = logging.getLogger("tessera")
_REPORTED_KS = (10, 50, 100)

#: Makes the batches of one epoch from its 0-based number.
EpochBatches = Callable[[int], tf.data.Dataset]


class TrainingLoop:
    """Trains a compiled model epoch by epoch."""

    def __init__(
        self,
        model: RetrievalModel,
        batches: EpochBatches,
        validator: Validator,
        config: TrainerConfig,
        checkpoints: Checkpoints,
        log: TensorBoardLog | None = None,
        epoch_steps: int | None = None,
        on_epoch: Callable[[Mapping[str, Any]], None] | None = None,
        distribution: Distribution | None = None,
    ) -> None:
        """Sets a training up.

        Args:
          model: a built and compiled model.
          batches: makes the batches of one epoch.
          validator: measures the model after each epoch.
          config: epochs and stopping.
          checkpoints: where progress is kept.
          log: TensorBoard, or None.
          epoch_steps: batches per epoch as far as known, for the progress bar.
          on_epoch: is told every epoch's record, those of the checkpoint first; None: nobody.
          distribution: the model's; `epoch_steps` is exact where it has several replicas. None:
            one process.
        """
        self._model, self._batches, self._validator = model, batches, validator
        self._config, self._checkpoints, self._log = config, checkpoints, log
        k = config.early_stopping_metric_k
        self._metric = f"val_recall@{k}"
        self._ks = tuple(sorted({*_REPORTED_KS, k}))
        self._epoch_steps = epoch_steps
        self._on_epoch = on_epoch or (lambda record: None)
        self._distribution = distribution or Distribution(tf.distribute.get_strategy())

    def run(self) -> list[dict[str, Any]]:
        """Trains until the last epoch or until validation stops improving.

        The model ends with the weights of its best epoch.

        Returns:
          One record per epoch: epoch, loss, in_batch_accuracy, examples_per_s, validation
          metrics and slot figures.

        Raises:
          TrainingError: the loss is not finite, or a signal stopped the training.
        """
        progress = self._resume()
        if progress.epoch or progress.batch:
            _LOG.info("resuming in epoch %d, batch %d", progress.epoch + 1, progress.batch)
        for record in progress.history:
            self._on_epoch(record)
        with StopSignals() as signals, track("training", self._total(progress)) as bar:
            while progress.epoch < self._config.epochs and not self._exhausted(progress):
                record = self._epoch(progress, signals, bar)
                if signals.received is not None:
                    break
                self._finish_epoch(progress, record)
        if self._log is not None:
            self._log.close()
        if signals.received is not None:
            self._stop(signals.received)
        if self._distribution.chief:  # which may remove the folder before others have read it
            self._checkpoints.restore_best()
        return progress.history

    def _resume(self) -> Progress:
        """Restores the last checkpoint, the same one in every process.

        Raises:
          TrainingError: this process has another training or checkpoint than the chief.
        """
        progress = self._checkpoints.resume()
        own = (
            float(progress.epoch),
            float(progress.batch),
            float(zlib.crc32(progress.key.encode())),
        )
        chief = self._distribution.chief_says(*own)
        if chief != own:
            raise TrainingError(
                f"this worker starts at epoch {progress.epoch}, batch {progress.batch} in "
                f"{self._checkpoints.folder}, the chief at epoch {chief[0]:.0f}, batch "
                f"{chief[1]:.0f}{'' if chief[2] == own[2] else ' of another training'}; all "
                "workers need the same files, configuration and folder of checkpoints"
            )
        return progress

    def _epoch(self, progress: Progress, signals: StopSignals, bar: Bar) -> dict[str, Any]:
        """Trains one epoch, from where it was interrupted; writes a checkpoint on a signal."""
        shown = ProgressCallback(bar, self._config.batch_size, progress.epoch + 1)
        batches = self._batches(progress.epoch)
        if self._config.steps_per_epoch is not None:
            batches = batches.take(self._config.steps_per_epoch)
        rest = batches.skip(progress.batch)
        record: dict[str, Any] = {"epoch": progress.epoch + 1}
        record |= {"loss": None, "in_batch_accuracy": None}
        # Keras refuses a fit without a batch: an epoch may have been stopped after its last one.
        if progress.batch and next(iter(rest), None) is None:
            return {**record, "examples_per_s": 0.0}
        logs = self._model.fit(
            self._distribution.batches(rest),
            verbose=0,
            steps_per_epoch=self._steps_left(progress),
            callbacks=[FiniteLoss(self._checkpoints.folder), shown, signals],
        )
        if signals.received is not None:
            progress.batch += shown.batches
            if self._distribution.chief:
                self._checkpoints.save(progress)
            return {}
        if not shown.batches:
            raise TrainingError("the training split has no examples")
        record |= {name: float(logs.history[name][-1]) for name in ("loss", "in_batch_accuracy")}
        return {**record, "examples_per_s": round(shown.examples_per_s, 1)}

    def _finish_epoch(self, progress: Progress, record: dict[str, Any]) -> None:
        """Validates, keeps the best weights, writes the checkpoint and the logs."""
        chief = self._distribution.chief
        if chief:
            record.update(self._validator.metrics(self._ks))
            record.update(self._validator.health())
        (value,) = self._distribution.chief_says(record.get(self._metric, 0.0))
        record[self._metric] = value
        if progress.best is None or value > progress.best or not self._validator.size:
            progress.best, progress.best_epoch = value, progress.epoch + 1
            if chief:
                self._checkpoints.save_best()
        progress.history.append(record)
        progress.epoch, progress.batch = progress.epoch + 1, 0
        if not chief:
            return
        self._checkpoints.save(progress)
        if self._log is not None:
            self._log.write(progress.epoch, record)
        self._on_epoch(record)
        if self._validator.size:  # without validation no slot was measured
            for sentence in diagnostics.warnings(record, self._model.num_implicit_slots):
                _LOG.warning("epoch %d: %s", progress.epoch, sentence)

    def _steps_left(self, progress: Progress) -> int | None:
        """Batches left of an epoch for several replicas, where Keras wants it; else None."""
        if self._distribution.replicas == 1 or self._epoch_steps is None:
            return None
        return self._epoch_steps - progress.batch

    def _exhausted(self, progress: Progress) -> bool:
        """True once the metric has not improved for the configured number of epochs."""
        if not self._validator.size:
            return False
        return progress.epoch - progress.best_epoch >= self._config.early_stopping_patience

    def _total(self, progress: Progress) -> int | None:
        """Batches still to go at most, where that is known."""
        if self._epoch_steps is None:
            return None
        return self._epoch_steps * (self._config.epochs - progress.epoch) - progress.batch

    def _stop(self, number: int) -> None:
        """Hands a signal on to whoever handled it before, then gives up."""
        signal.raise_signal(number)
        raise TrainingError(
            f"training was stopped by {signal.Signals(number).name}; run the same command again to "
            f"resume from {self._checkpoints.folder}"
        )
