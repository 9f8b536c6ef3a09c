"""Trains one trial in a process of its own and follows its epochs."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.digest import json_digest
from core.errors import TrainingError
from core.files import read_json, write_json

JOB_FILE, EPOCHS_FILE, RESULT_FILE, LOG_FILE = "job.json", "epochs.json", "result.json", "train.log"
_POLL_SECONDS = 0.3
#: A stopped training writes its checkpoint after the batch under way.
_STOP_SECONDS = 60.0


@dataclass(frozen=True)
class TrialRunner:
    """Trains trials; a finished one is answered from its folder, a killed one resumes.

    Attributes:
      root: folder with one folder per trial, named by what it trains.
      job: what a trial is asked besides its settings: from (model, settings) to JSON values.
      command: starts a worker; the trial's folder is added.
    """

    root: Path
    job: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
    command: tuple[str, ...] = (sys.executable, "-m", "research.tuning.trial")

    def __call__(self, model: str, settings: Mapping[str, Any]) -> Generator[float, None, None]:
        """Trains and yields the validation recall of each epoch; close it to prune.

        Raises:
          TrainingError: the training failed; names its log.
        """
        job = dict(self.job(model, settings))
        folder = self.root / f"{model}-{json_digest(job)}"
        if (folder / RESULT_FILE).is_file():
            yield from _values(folder / RESULT_FILE)
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JOB_FILE, job)
        # What an interrupted worker said last is said again by the one that resumes.
        (folder / EPOCHS_FILE).unlink(missing_ok=True)
        with open(folder / LOG_FILE, "ab") as log:
            process = subprocess.Popen(
                [*self.command, str(folder)], stdout=log, stderr=subprocess.STDOUT
            )
        pruned = False
        try:
            yield from _follow(process, folder)
        except GeneratorExit:
            pruned = True
            raise
        finally:
            _stop(process)
            if pruned:
                shutil.rmtree(folder, ignore_errors=True)
        _require_result(process, folder)


def _follow(process: subprocess.Popen, folder: Path) -> Generator[float, None, None]:
    """Yields every epoch's value once, until the process has ended."""
    seen = 0
    while True:
        ended = process.poll() is not None  # asked first: what was written before is then read
        name = RESULT_FILE if (folder / RESULT_FILE).is_file() else EPOCHS_FILE
        with contextlib.suppress(FileNotFoundError):
            for value in _values(folder / name)[seen:]:
                seen += 1
                yield value
        if ended:
            return
        time.sleep(_POLL_SECONDS)


def _values(path: Path) -> list[float]:
    """Values of a file; the event log holds 32 bits, the result 64: both say the same here."""
    return [round(float(value), 6) for value in read_json(path)["values"]]


def _stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _require_result(process: subprocess.Popen, folder: Path) -> None:
    if (folder / RESULT_FILE).is_file():
        return
    log = folder / LOG_FILE
    lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    raise TrainingError(
        f"the training ended with code {process.returncode}: {lines[-1][:300]}; full log: {log}"
    )
