"""Stops a process right before its n-th write below a folder.

An audit hook of Python sees every file that is opened for writing and every name that
is made, moved or removed; nothing of the code under test is replaced.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_NAMES = {"os.link", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def killed_before(write: int, root: Path, work: Callable[[], object]) -> bool:
    """Runs `work` in a process that dies by SIGKILL before its write number `write`.

    Returns:
      Whether it was killed; False when `work` ended before.
    """
    process = multiprocessing.get_context("fork").Process(
        target=_run, args=(root, work, _kill_at(write))
    )
    process.start()
    process.join(60)
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the process ended with {process.exitcode}")
    return process.exitcode != 0


def watched(root: Path, work: Callable[[], object], look: Callable[[], object]) -> int:
    """Runs `work` in a process that calls `look` before every write.

    Returns:
      The number of writes.

    Raises:
      RuntimeError: `look` or `work` failed; the process has printed why.
    """
    counted = multiprocessing.get_context("fork").Value("i", 0)

    def action() -> None:
        counted.value += 1
        try:
            look()
        except BaseException as error:  # an exception in a hook would look like the code's own
            sys.stderr.write(f"before write {counted.value}: {error!r}\n")
            os._exit(3)

    process = multiprocessing.get_context("fork").Process(target=_run, args=(root, work, action))
    process.start()
    process.join(60)
    if process.exitcode != 0:
        raise RuntimeError(f"the process ended with {process.exitcode}")
    return counted.value


def _kill_at(write: int) -> Callable[[], None]:
    seen = [0]

    def action() -> None:
        if seen[0] == write:
            os.kill(os.getpid(), signal.SIGKILL)
        seen[0] += 1

    return action


def _run(root: Path, work: Callable[[], object], action: Callable[[], None]) -> None:
    prefix, busy = str(root), [False]

    def hook(event: str, args: tuple) -> None:
        if busy[0] or not _is_write(event, args, prefix):
            return
        busy[0] = True
        try:
            action()
        finally:
            busy[0] = False

    sys.addaudithook(hook)
    work()


def _is_write(event: str, args: tuple, prefix: str) -> bool:
    if event == "open":
        path, _, flags = args
        return bool(flags & _WRITING) and str(path).startswith(prefix)
    if event not in _NAMES:
        return False
    # `shutil.rmtree` names files relative to an open folder.
    relative = event in ("os.remove", "os.rmdir") and args[1] != -1
    return relative or any(str(path).startswith(prefix) for path in args[:2])
