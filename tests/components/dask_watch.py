"""Notes in each Dask worker which steps it finished; light, for the workers import it."""

from __future__ import annotations

from typing import Any

from dask.distributed import WorkerPlugin


class FinishedSteps(WorkerPlugin):
    """Adds `finished_steps` to the worker: labels of the tasks that ran there."""

    def setup(self, worker: Any) -> None:
        worker.finished_steps = set()
        self._finished = worker.finished_steps

    def transition(self, key: str, start: str, finish: str, **_: Any) -> None:
        if (start, finish) == ("executing", "memory"):
            self._finished.add(str(key).rpartition("-")[0])
