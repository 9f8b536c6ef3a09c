"""Trains one trial in a process of its own and follows its epochs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.digest import json_digest
from core.errors import TrainingError
from core.files import read_json, write_json
from research.child import Child

JOB_FILE, RESULT_FILE, LOG_FILE = "job.json", "result.json", "train.log"


@dataclass(frozen=True)
class TrialRunner:
    """Trains trials; a finished one is answered from its folder, a killed one resumes.

    Attributes:
      root: folder with one folder per trial, named by what it trains.
      job: what a trial is asked besides its settings: from (model, settings) to JSON values.
      worker: arguments of Python that start a worker; the trial's folder is added.
    """

    root: Path
    job: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
    worker: tuple[str, ...] = ("-m", "research.tuning.trial")

    def __call__(self, model: str, settings: Mapping[str, Any]) -> Generator[float, None, None]:
        """Trains and yields the validation recall of each epoch; close it to prune.

        Raises:
          TrainingError: the training failed; names its log.
        """
        job = dict(self.job(model, settings))
        folder = self.root / f"{model}-{json_digest(job)}"
        if (folder / RESULT_FILE).is_file():
            yield from map(_rounded, read_json(folder / RESULT_FILE)["values"])
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JOB_FILE, job)
        try:
            with Child(*self.worker, str(folder), log=folder / LOG_FILE) as child:
                yield from (_rounded(line["value"]) for line in child.lines() if "value" in line)
                code = child.wait()
        except GeneratorExit:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if not (folder / RESULT_FILE).is_file():
            last = (child.last_lines(1) or ["it said nothing"])[0].removeprefix("tessera: ")
            raise TrainingError(
                f"the training ended with code {code}: {last[:300]}; full log: {folder / LOG_FILE}"
            )


def _rounded(value: float) -> float:
    """Six digits, as in studies that were begun when values came from a log of 32 bits."""
    return round(float(value), 6)
