"""The training of one trial, in a process of its own.

    python -m research.tuning.trial FOLDER

Reads FOLDER/job.json, writes FOLDER/epochs.json after each epoch and FOLDER/result.json at
the end. Memory of one training is never that of the next, and a crash is one failed trial.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from core.errors import TesseraError
from core.files import read_json, write_json
from research.tuning.worker import EPOCHS_FILE, JOB_FILE, RESULT_FILE
from trainer.config import ModelConfig, TrainerConfig, TransformConfig
from trainer.fit import TrainingJob, fit

_POLL_SECONDS = 0.5


class EpochWatcher(threading.Thread):
    """Passes on what the training writes for TensorBoard; ends the process with its parent.

    The folder of a resumed training holds the events of the earlier process too.
    """

    def __init__(self, log_dir: Path, metric_k: int, out: Path) -> None:
        """Watches a training.

        Args:
          log_dir: its TensorBoard folder.
          metric_k: k of the validation recall.
          out: JSON file to write.
        """
        super().__init__(daemon=True)
        self._events = EventAccumulator(str(log_dir), size_guidance={"tensors": 0})
        self._tag = f"validation/recall_at_{metric_k}"
        self._out, self._parent = out, os.getppid()
        self._written: list[float] = []

    def run(self) -> None:
        """Looks a few times a second."""
        while True:
            if os.getppid() != self._parent:
                # Whoever follows the trial is gone: leave a checkpoint, do not train on.
                signal.raise_signal(signal.SIGTERM)
                return
            self.look()
            time.sleep(_POLL_SECONDS)

    def look(self) -> list[float]:
        """Writes the epochs' values where there are new ones, and returns them."""
        self._events.Reload()
        values: dict[int, float] = {}
        if self._tag in self._events.Tags()["tensors"]:
            for event in self._events.Tensors(self._tag):
                values[event.step] = float(tf.make_ndarray(event.tensor_proto))
        found = [values[step] for step in sorted(values)]
        if found != self._written:
            write_json(self._out, {"values": found})
            self._written = found
        return found


def run_trial(folder: Path) -> None:
    """Trains what `job.json` asks for.

    Args:
      folder: of the trial; checkpoints and logs are kept in it.

    Raises:
      TesseraError: the training cannot go on.
    """
    asked: dict[str, Any] = read_json(folder / JOB_FILE)
    trainer = TrainerConfig.model_validate(asked["trainer"])
    log_dir = folder / "log"
    log_dir.mkdir(exist_ok=True)  # a watched folder that is not there counts as deleted
    EpochWatcher(log_dir, trainer.early_stopping_metric_k, folder / EPOCHS_FILE).start()
    started = time.monotonic()
    trained = fit(
        TrainingJob(
            examples=asked["examples"],
            transform_graph=asked["transform_graph"],
            model=ModelConfig.model_validate(asked["model"]),
            trainer=trainer,
            transform=TransformConfig.model_validate(asked["transform"]),
            checkpoint_dir=str(folder / "checkpoints"),
            log_dir=str(log_dir),
            code_digest=asked["code_digest"],
        )
    )
    metric = f"val_recall@{trainer.early_stopping_metric_k}"
    result = {
        "values": [record[metric] for record in trained.history],
        "seconds": round(time.monotonic() - started, 1),
        "history": trained.history,
    }
    write_json(folder / RESULT_FILE, result)
    trained.checkpoints.remove()


def main(arguments: list[str]) -> None:
    """Trains and exits: 0 done, else the last line of the output says why."""
    try:
        run_trial(Path(arguments[0]))
    except TesseraError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
