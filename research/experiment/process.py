"""Runs the jobs of an experiment, one worker process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, groupby
from typing import Any

from core.errors import TesseraError
from core.progress import track
from research.child import Child
from research.experiment.jobs import JOB_FILE, LOG_FILE, Job

_LAST_LINES = 12


def run_worker(job: Job) -> None:
    """Does a job in a fresh process, which is told to stop when this one is.

    Args:
      job: what to train and ask.

    Raises:
      TesseraError: the worker failed; names its last lines and its log.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    path, log = job.folder / JOB_FILE, job.folder / LOG_FILE
    path.write_text(job.canonical_json())
    with Child("-m", "research.experiment.worker", str(path), log=log) as worker:
        _show(worker.lines(), job)
        code = worker.wait()
    if code or not job.finished:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        text = "\n  ".join(worker.last_lines(_LAST_LINES))
        raise TesseraError(
            f"{job.words}: the worker ended with {how}\n  {text}\n"
            f"full log: {log}\nfinished runs are kept; the same command goes on"
        )


def _show(lines: Iterator[dict[str, Any]], job: Job) -> None:
    """Draws the worker's progress until it closes its end."""
    progress = (line for line in lines if isinstance(line.get("done"), int))
    for label, of_task in groupby(progress, key=lambda line: str(line.get("label"))):
        first = next(of_task)
        total, done = first.get("total"), 0
        with track(f"{job.words}: {label}", total if isinstance(total, int) else None) as bar:
            for line in chain([first], of_task):
                shown = {k: v for k, v in line.items() if k not in ("label", "total", "done")}
                bar.advance(line["done"] - done, **shown)
                done = line["done"]
