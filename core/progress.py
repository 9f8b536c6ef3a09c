"""Progress of long work, shown by whoever runs the process.

Executors report through `track`; the command line installs a reporter that
draws a bar. Without one (Kubeflow, tests) nothing is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """One running task."""

    def advance(self, amount: int = 1, **fields: object) -> None:
        """Moves the bar by `amount` units; `fields` are shown beside it."""


class Reporter(Protocol):
    """Draws bars."""

    def start(self, label: str, total: int | None) -> Bar:
        """Starts a bar; `total` is None when the length is not known."""

    def stop(self, bar: Bar) -> None:
        """Ends a bar that `start` returned."""


class _Silent:
    def advance(self, amount: int = 1, **fields: object) -> None:
        return None

    def start(self, label: str, total: int | None) -> Bar:
        return self

    def stop(self, bar: Bar) -> None:
        return None


_reporter: Reporter = _Silent()


def set_reporter(reporter: Reporter | None) -> None:
    """Installs the process-wide reporter; None silences progress again."""
    global _reporter
    _reporter = reporter if reporter is not None else _Silent()


@contextmanager
def track(label: str, total: int | None = None) -> Iterator[Bar]:
    """Reports progress of the work inside the `with` block.

    Args:
      label: what is being done, a few words.
      total: number of units, or None when it is not known.
    """
    bar = _reporter.start(label, total)
    try:
        yield bar
    finally:
        _reporter.stop(bar)
