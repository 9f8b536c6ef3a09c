"""What a process that trains or measures does around its work; `research.child` starts it.

Progress and results go to stdout as JSON lines, everything else to stderr. A process per
training gives each its own peak of memory and survives whatever happens to the one before.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NoReturn, TextIO

from core.errors import TesseraError
from core.progress import set_reporter
from pipeline import environment

_SHOW_SECONDS = 0.5


class Pipe:
    """Says things, progress among them, as JSON lines to the process that started this one."""

    def __init__(self, stream: TextIO) -> None:
        """Writes to a stream; nobody reading it is no error."""
        self._stream = stream

    def say(self, **line: object) -> None:
        """Writes one line."""
        try:
            self._stream.write(json.dumps(line, default=str) + "\n")
            self._stream.flush()
        except OSError:  # whoever read this is gone
            return

    def start(self, label: str, total: int | None) -> PipeBar:
        """Starts one task."""
        return PipeBar(self, label, total)

    def stop(self, bar: object) -> None:
        """Ends a task; the next one says what it is."""


class PipeBar:
    """One task whose progress is written a few times a second at most."""

    def __init__(self, pipe: Pipe, label: str, total: int | None) -> None:
        """Starts at nothing."""
        self._pipe, self._label, self._total = pipe, label, total
        self._done, self._shown = 0, 0.0
        self.advance(0)

    def advance(self, amount: int = 1, **fields: object) -> None:
        """Moves on."""
        self._done += amount
        now = time.monotonic()
        if now - self._shown < _SHOW_SECONDS:
            return
        self._shown = now
        self._pipe.say(label=self._label, done=self._done, total=self._total, **fields)


def stop_with_the_parent() -> None:
    """Ends this process when the one that holds the other end of stdin is gone."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def work(task: Callable[[Pipe], None]) -> NoReturn:
    """Does a task and ends this process: with 0, or with the exit code of its error.

    Args:
      task: is given the pipe to the process that started this one.
    """
    environment.prepare()
    sys.stdout.flush()
    pipe = Pipe(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    faulthandler.enable()
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        force=True,  # what was imported before may have set handlers of its own
    )
    logging.getLogger("absl").setLevel(logging.WARNING)
    set_reporter(pipe)
    stop_with_the_parent()
    code = 0
    try:
        task(pipe)
    except TesseraError as error:
        traceback.print_exc()
        sys.stderr.write(f"tessera: {error}\n")
        code = error.exit_code
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    # Interpreter and TensorFlow take seconds to tidy up what ends with the process anyway.
    os._exit(code)
