"""What watches a training epoch: progress, bad numbers, stop signals, TensorBoard."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

import tensorflow as tf
import tf_keras

from core.errors import TrainingError
from core.progress import Bar

_SHOW_SECONDS = 0.2


class ProgressCallback(tf_keras.callbacks.Callback):
    """Moves a bar by examples and shows loss, in-batch accuracy and examples/s."""

    def __init__(self, bar: Bar, batch_size: int, epoch: int) -> None:
        """Shows one epoch.

        Args:
          bar: a running bar that counts batches.
          batch_size: examples per batch.
          epoch: 1-based number that is shown.
        """
        super().__init__()
        self._bar, self._batch_size, self._epoch = bar, batch_size, epoch
        self._pending = self._batches = 0
        self._started = self._shown = time.monotonic()

    @property
    def examples_per_s(self) -> float:
        """Examples per second of this epoch so far; a partial last batch counts as whole."""
        return self._batches * self._batch_size / max(time.monotonic() - self._started, 1e-9)

    @property
    def batches(self) -> int:
        """Batches of this epoch so far."""
        return self._batches

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts the batch; draws a few times a second at most."""
        self._pending += 1
        self._batches += 1
        now = time.monotonic()
        if now - self._shown < _SHOW_SECONDS:
            return
        shown = logs or {}
        self._bar.advance(
            self._pending,
            epoch=self._epoch,
            loss=round(float(shown.get("loss", math.nan)), 4),
            accuracy=round(float(shown.get("in_batch_accuracy", math.nan)), 3),
            examples_per_s=round(self.examples_per_s),
        )
        self._pending, self._shown = 0, now

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Moves the bar by what was not shown yet."""
        self._bar.advance(self._pending)
        self._pending = 0


class FiniteLoss(tf_keras.callbacks.Callback):
    """Stops a training whose loss is not a finite number any more."""

    def __init__(self, checkpoint_dir: str) -> None:
        """Names the folder with the last good checkpoint in the error."""
        super().__init__()
        self._checkpoint_dir = checkpoint_dir

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Checks the running loss.

        Raises:
          TrainingError: it is NaN or infinite.
        """
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in step {self.model.steps.numpy()}; the last good "
                f"checkpoint is kept in {self._checkpoint_dir}; lower trainer.learning_rate or "
                "raise trainer.temperature"
            )


class StopSignals(tf_keras.callbacks.Callback):
    """Turns SIGTERM and SIGINT into an orderly stop after the running batch."""

    def __init__(self) -> None:
        super().__init__()
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        """Installs the handlers; outside the main thread there is nothing to install."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Puts the handlers back that were there before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Ends the epoch early once a signal came."""
        if self.received is not None:
            self.model.stop_training = True


class TensorBoardLog:
    """Writes the numbers of each epoch where TensorBoard finds them."""

    def __init__(self, folder: str) -> None:
        """Opens the event file in `folder`, the Trainer's model run directory."""
        self._writer = tf.summary.create_file_writer(folder)

    def write(self, epoch: int, record: Mapping[str, Any]) -> None:
        """Writes every number of an epoch's record as a scalar."""
        with self._writer.as_default(step=epoch):
            for name, value in record.items():
                if isinstance(value, (int, float)) and name != "epoch":
                    tf.summary.scalar(_tag(name), value)
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()


def _tag(name: str) -> str:
    """`val_recall@50` is listed under validation, slot figures under slots."""
    if name.startswith("val_"):
        return f"validation/{name.removeprefix('val_').replace('@', '_at_')}"
    if name.startswith(("slot", "cluster", "dead", "user_norm", "item_norm")):
        return f"slots/{name}"
    return f"training/{name}"
