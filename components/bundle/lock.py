"""One writer at a time: of a model's folder, and of the configurations beside it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from core.errors import PushError

LOCK_NAME = ".push.lock"
CONFIG_LOCK_NAME = ".config.lock"


def push_lock(model_dir: Path, wait_s: float) -> AbstractContextManager[None]:
    """Holds the exclusive lock of one model's folder (`<serving_dir>/<name>`).

    Whoever publishes, labels, pins or removes a version holds it. See `exclusive_lock`.
    """
    return exclusive_lock(model_dir / LOCK_NAME, wait_s)


def config_lock(serving_dir: Path, wait_s: float = 30.0) -> AbstractContextManager[None]:
    """Holds the lock of the server configurations, which cover all models of a folder.

    Taken after a `push_lock`, never before one: two processes cannot wait for each other.
    """
    return exclusive_lock(serving_dir / CONFIG_LOCK_NAME, wait_s)


@contextmanager
def exclusive_lock(path: Path, wait_s: float) -> Iterator[None]:
    """Holds an exclusive lock.

    The kernel releases it when its holder ends, however it ends, so a lock file
    that a killed process left behind blocks nobody.

    Args:
      path: the lock file; its folder must exist.
      wait_s: seconds to wait for another holder.

    Raises:
      PushError: another process still holds the lock after `wait_s`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + wait_s
        while not _try(descriptor):
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
                raise PushError(
                    f"{path}: another process ({holder}) publishes or labels here and holds the "
                    f"lock since more than {wait_s:g} s; try again when it is done"
                )
            time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
