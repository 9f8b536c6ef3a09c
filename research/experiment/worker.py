"""Trains and asks one model in a process of its own: `python -m research.experiment.worker`."""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from core.files import read_json, write_json
from research.work import work

_TRAINING_FILE = "training.json"


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
            features=job.settings.features,
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


if __name__ == "__main__":
    work(lambda pipe: run_job(Path(sys.argv[1])))
