"""Starts a process that trains or measures and follows what it says.

The other end is `research.work`: JSON lines on stdout, everything else in a log, and an end
of stdin when this process is gone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from core.errors import StoppedError

_ROOT = Path(__file__).resolve().parents[1]
#: A stopped training writes its checkpoint after the batch under way.
_STOP_SECONDS = 120.0


class TerminatedError(StoppedError):
    """SIGTERM stopped this process."""

    exit_code = 128 + signal.SIGTERM


class _Terminated(BaseException):
    """Raised by the handler of SIGTERM, past every `except Exception`."""


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Turns SIGTERM inside the block into an orderly end.

    Raises:
      TerminatedError: SIGTERM came.
      StoppedError: the user pressed Ctrl-C.
    """
    words = "stopped; run the same command again: finished runs are reused, a training resumes"
    previous: object = None
    in_main = threading.current_thread() is threading.main_thread()
    if in_main:
        previous = signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    except _Terminated:
        raise TerminatedError(words) from None
    except KeyboardInterrupt:
        raise StoppedError(words) from None
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, previous)  # type: ignore[arg-type]


def _raise(number: int, frame: FrameType | None) -> None:
    raise _Terminated


class Child:
    """A process that is told to stop where the block ends before it, or this process does."""

    def __init__(
        self, *arguments: str, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Names what runs.

        Args:
          *arguments: of the Python interpreter.
          log: what the process writes to stderr is added to it.
          environment: variables besides those of this process.
        """
        self._arguments, self._log = arguments, log
        self._environment = environment or {}

    def __enter__(self) -> Child:
        """Starts it."""
        python_path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": python_path, **self._environment},
                # Ctrl-C reaches this process alone, which hands it on once.
                start_new_session=True,
            )
        return self

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yields what it says until it closes its end."""
        for raw in self._process.stdout or ():
            try:
                line = json.loads(raw)
            except ValueError:  # a library wrote there before it was redirected
                continue
            if isinstance(line, dict):
                yield line

    def wait(self) -> int:
        """Waits for its end and returns the exit code, negative for a signal."""
        return self._process.wait()

    def last_lines(self, most: int) -> list[str]:
        """Returns why it failed as far as it said so, else the end of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = [line for line in lines if line.startswith("tessera: ")]
        return said[-1:] or lines[-most:]

    def __exit__(self, *_: object) -> None:
        """Lets it write its checkpoint where it still runs, then makes sure that it is gone."""
        process = self._process
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except (subprocess.TimeoutExpired, KeyboardInterrupt, _Terminated):
                process.kill()
                process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
