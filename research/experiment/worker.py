"""Trains and asks one model in a process of its own: `python -m research.experiment.worker`.

A process per run gives each its own peak of memory and survives whatever happens to
the one before. Progress goes to stdout as JSON lines, everything else to stderr.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import statistics
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from core.errors import TesseraError
from core.files import read_json, write_json
from core.progress import set_reporter
from pipeline import environment

_TRAINING_FILE = "training.json"
_SHOW_SECONDS = 0.5


class PipeReporter:
    """Reports progress as JSON lines to the process that started this one."""

    def __init__(self, stream: TextIO) -> None:
        """Writes to a stream; nobody reading it is no error."""
        self._stream = stream

    def start(self, label: str, total: int | None) -> PipeBar:
        """Starts one task."""
        return PipeBar(self._stream, label, total)

    def stop(self, bar: object) -> None:
        """Ends a task; the next one says what it is."""


class PipeBar:
    """One task whose progress is written a few times a second at most."""

    def __init__(self, stream: TextIO, label: str, total: int | None) -> None:
        """Starts at nothing."""
        self._stream, self._label, self._total = stream, label, total
        self._done, self._shown = 0, 0.0
        self.advance(0)

    def advance(self, amount: int = 1, **fields: object) -> None:
        """Moves on."""
        self._done += amount
        now = time.monotonic()
        if now - self._shown < _SHOW_SECONDS:
            return
        self._shown = now
        line = {"label": self._label, "done": self._done, "total": self._total, **fields}
        try:
            self._stream.write(json.dumps(line, default=str) + "\n")
            self._stream.flush()
        except OSError:  # whoever read this is gone
            return


def run_job(path: Path) -> None:
    """Does one job; `run.json` appears in its folder when all of it is done.

    Args:
      path: JSON of a `research.experiment.jobs.Job`.

    Raises:
      TesseraError: training or evaluation cannot go on, or another process does this job.
    """
    from core.lock import run_lock
    from research.experiment.jobs import RUN_FILE, Job

    job = Job.from_json(path.read_text())
    training_dir = Path(job.training_dir)
    training_dir.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with run_lock(training_dir):
        if job.finished:
            return
        trained, record = _train(job)
        from research.experiment.evaluate import evaluate

        latencies, variants = evaluate(job, trained)
        figures = {**_training_figures(trained, record), **latencies}
        run = {
            "model": job.model,
            "seed": job.seed,
            "dataset": job.dataset,
            "seconds": round(record["train_s"] + time.monotonic() - started, 1),
            "figures": figures,
            "variants": variants,
            "history": trained.history,
        }
        if record["trained_now"]:  # the training's seconds are in both
            run["seconds"] = round(time.monotonic() - started, 1)
        write_json(job.folder / RUN_FILE, run)


def _train(job: Any) -> tuple[Any, dict[str, Any]]:
    """Trains, goes on with an interrupted training, or restores a finished one.

    Returns:
      `trainer.fit.Trained` and the record of the training: `train_s`, `peak_mb`,
      `trained_now`.
    """
    from trainer.fit import TrainingJob, fit

    folder = Path(job.training_dir)
    path = folder / _TRAINING_FILE
    record: dict[str, Any] = {"train_s": 0.0, "peak_mb": 0.0, "done": False}
    if path.is_file():
        record |= read_json(path)
    started = time.monotonic()

    def note(done: bool) -> None:
        record["train_s"] = round(record["train_s"] + time.monotonic() - started, 2)
        record["peak_mb"] = max(record["peak_mb"], peak_mb())
        record["done"] = done
        write_json(path, record)

    def stop(number: int, frame: FrameType | None) -> None:
        if not record["done"]:
            note(done=False)
        os._exit(128 + number)

    # The training loop writes its checkpoint first, then hands the signal on to this handler.
    signal.signal(signal.SIGTERM, stop)
    trained = fit(
        TrainingJob(
            examples=[f"{job.transformed}/Split-train/*"],
            transform_graph=job.transform_graph,
            model=job.settings.model,
            trainer=job.settings.trainer,
            transform=job.settings.transform,
            checkpoint_dir=str(folder / "checkpoints"),
            log_dir=str(folder / "log"),
            code_digest=job.code,
        )
    )
    trained_now = not record["done"]
    if trained_now:
        note(done=True)
    return trained, {**record, "trained_now": trained_now}


def _training_figures(trained: Any, record: dict[str, Any]) -> dict[str, float]:
    """Figures of the training and of its best epoch."""
    model, history = trained.model, trained.history
    metric = f"val_recall@{model.trainer_config.early_stopping_metric_k}"
    best = max(history, key=lambda epoch: epoch[metric])
    # The first epoch also traces the graph.
    speeds = [epoch["examples_per_s"] for epoch in history][1 if len(history) > 1 else 0 :]
    figures = {
        "examples_per_s": statistics.median(speeds),
        "train_s": record["train_s"],
        "peak_mb": record["peak_mb"],
        "parameters": sum(w.shape.num_elements() for w in model.trainable_weights),
        "steps": int(model.steps.numpy()),
        "epochs": len(history),
        "best_epoch": best["epoch"],
        metric: best[metric],
    }
    renamed = {"slot_cosine": "user_cosine"}
    for name in ("slot_cosine", "slot_use", "dead_slots", "slots_valid", "cluster_balance"):
        if name in best:
            figures[renamed.get(name, name)] = best[name]
    return {name: float(value) for name, value in figures.items()}


def peak_mb() -> float:
    """Returns the peak of this process's resident memory in MB.

    Linux counts the parent's peak into `getrusage` of a child; its own is in /proc.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        pass
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _stop_with_the_parent() -> None:
    """Ends this process when the one that holds the other end of stdin is gone."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    """Runs the job named on the command line; returns the exit code."""
    environment.prepare()
    sys.stdout.flush()
    progress = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    faulthandler.enable()
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        force=True,  # what was imported before may have set handlers of its own
    )
    logging.getLogger("absl").setLevel(logging.WARNING)
    set_reporter(PipeReporter(progress))
    _stop_with_the_parent()
    try:
        run_job(Path(sys.argv[1]))
    except TesseraError as error:
        traceback.print_exc()
        sys.stderr.write(f"tessera: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Interpreter and TensorFlow take seconds to tidy up what ends with the process anyway.
    os._exit(code)
