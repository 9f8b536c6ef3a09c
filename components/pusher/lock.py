"""One pusher at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import PushError

LOCK_NAME = ".push.lock"


@contextmanager
def push_lock(model_dir: Path, wait_s: float) -> Iterator[None]:
    """Holds the exclusive lock of one model's folder.

    The kernel releases it when its holder ends, however it ends, so a lock file
    that a killed pusher left behind blocks nobody.

    Args:
      model_dir: `<serving_dir>/<name>`; must exist.
      wait_s: seconds to wait for another pusher.

    Raises:
      PushError: another pusher still holds the lock after `wait_s`.
    """
    path = model_dir / LOCK_NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + wait_s
        while not _try(descriptor):
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
                raise PushError(
                    f"{path}: another pusher (process {holder}) holds the lock "
                    f"since more than {wait_s:g} s; try again when it is done"
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
