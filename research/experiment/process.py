"""Runs the jobs of an experiment, one worker process at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, groupby
from pathlib import Path
from types import FrameType
from typing import IO, Any

from core.errors import StoppedError, TesseraError
from core.progress import track
from research.experiment.jobs import JOB_FILE, LOG_FILE, Job

_ROOT = Path(__file__).resolve().parents[2]
_LAST_LINES = 12
_STOP_SECONDS = 120.0


class TerminatedError(StoppedError):
    """SIGTERM stopped the experiment."""

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


def run_worker(job: Job) -> None:
    """Does a job in a fresh process, which is told to stop when this one is.

    Args:
      job: what to train and ask.

    Raises:
      TesseraError: the worker failed; names its last lines and its log.
    """
    folder = job.folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOB_FILE
    path.write_text(job.canonical_json())
    python_path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    with open(folder / LOG_FILE, "ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "research.experiment.worker", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": python_path},
            # Ctrl-C reaches this process alone, which hands it on once.
            start_new_session=True,
        )
        try:
            _follow(worker.stdout, job)
            code = worker.wait()
        except BaseException:
            _stop(worker)
            raise
        finally:
            for stream in (worker.stdin, worker.stdout):
                if stream is not None:
                    stream.close()
    if code or not job.finished:
        raise TesseraError(_failure(job, code, folder / LOG_FILE))


def _follow(stream: IO[bytes] | None, job: Job) -> None:
    """Draws the worker's progress until it closes its end."""
    for label, lines in groupby(_progress(stream), key=lambda line: str(line.get("label"))):
        first = next(lines)
        total, done = first.get("total"), 0
        with track(f"{job.words}: {label}", total if isinstance(total, int) else None) as bar:
            for line in chain([first], lines):
                shown = {k: v for k, v in line.items() if k not in ("label", "total", "done")}
                bar.advance(line["done"] - done, **shown)
                done = line["done"]


def _progress(stream: IO[bytes] | None) -> Iterator[dict[str, Any]]:
    """Yields the worker's lines of progress."""
    for raw in stream or ():
        try:
            line = json.loads(raw)
        except ValueError:  # a library wrote there before it was redirected
            continue
        if isinstance(line, dict) and isinstance(line.get("done"), int):
            yield line


def _stop(worker: subprocess.Popen[bytes]) -> None:
    """Lets the worker write its checkpoint, then makes sure that it is gone."""
    worker.terminate()
    try:
        worker.wait(_STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt, _Terminated):
        worker.kill()
        worker.wait()


def _failure(job: Job, code: int, log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line for line in lines if line.startswith("tessera: ")]
    shown = said[-1:] if said else lines[-_LAST_LINES:]
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    text = "\n  ".join(shown)
    return (
        f"{job.words}: the worker ended with {how}\n  {text}\n"
        f"full log: {log}\nfinished runs are kept; the same command goes on"
    )
