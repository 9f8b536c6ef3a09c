"""Wall and CPU time of several programs, in turn, so that a busy machine slows all alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Path:
    """One way to answer requests.

    Attributes:
      name: shown in the tables.
      run: answers the users `[batch]`, rows of the tower's table.
      note: parameters.
      recall: of its searches, recall@100 against exact search.
      wall, cpu: seconds of each request, by batch size.
    """

    name: str
    run: Callable[[np.ndarray], object]
    note: str = ""
    recall: float = 1.0
    wall: dict[int, list[float]] = field(default_factory=dict)
    cpu: dict[int, list[float]] = field(default_factory=dict)

    def milliseconds(self, batch: int, percentile: float = 50, of_cpu: bool = False) -> float:
        """Returns a percentile over the requests of a batch size."""
        return 1e3 * float(np.percentile((self.cpu if of_cpu else self.wall)[batch], percentile))


def measure(
    paths: list[Path], batches: dict[int, list[np.ndarray]], rounds: int, longest_s: float = 3.0
) -> None:
    """Times every path on every batch, `rounds` times in turn.

    Args:
      paths: get their times added.
      batches: by batch size, the users of each request.
      rounds: repetitions.
      longest_s: a path gives the turn back after this long.
    """
    for size, requests in batches.items():
        for path in paths:
            path.wall[size], path.cpu[size] = [], []
            path.run(requests[0])
        for _ in range(rounds):
            for path in paths:
                turn = time.perf_counter()
                path.run(requests[0])  # caches are another path's by now
                for users in requests:
                    started, used = time.perf_counter(), time.process_time()
                    path.run(users)
                    path.cpu[size].append(time.process_time() - used)
                    path.wall[size].append(time.perf_counter() - started)
                    if time.perf_counter() - turn > longest_s:
                        break
