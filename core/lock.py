"""The work folder: one run at a time, since its metadata and checkpoints are shared."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import ConfigError, TesseraError

LOCK_NAME = ".run.lock"


def make_folder(folder: Path, work_dir: Path) -> None:
    """Makes a folder in the work folder, or the work folder itself.

    Raises:
      ConfigError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"work_dir: {work_dir} cannot be written ({error.strerror}); "
            "choose another with --set work_dir=DIR"
        ) from error


@contextmanager
def run_lock(work_dir: Path) -> Iterator[None]:
    """Holds the work folder for the block; the kernel frees it however the process ends.

    Args:
      work_dir: an existing folder.

    Raises:
      TesseraError: another run holds it.
    """
    path = work_dir / LOCK_NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
            raise TesseraError(
                f"{work_dir}: another run (process {holder}) works in this folder; wait until it "
                "ends, or choose another with --set work_dir=DIR"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
