"""Wall and CPU seconds of training epochs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Collects the seconds of each epoch; the first one warms up and is not counted."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.examples: list[int] = []

    @contextmanager
    def epoch(self, examples: int) -> Iterator[None]:
        """Times the block as one epoch over `examples` examples."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)
        self.examples.append(examples)

    def figures(self) -> dict[str, float]:
        """Returns examples per second, by the clock and by CPU time, and all seconds."""
        counted = slice(1 if len(self.wall) > 1 else 0, None)
        examples = sum(self.examples[counted])
        return {
            "examples_per_s": examples / max(sum(self.wall[counted]), 1e-9),
            "examples_per_cpu_s": examples / max(sum(self.cpu[counted]), 1e-9),
            "train_s": sum(self.wall),
            "examples_seen": sum(self.examples),
        }
