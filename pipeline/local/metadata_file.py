"""The metadata of local runs: one SQLite file, which must be usable before a run begins."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from core.errors import TesseraError

_WAIT_S = 5.0


def require_usable(path: Path, wait_s: float = _WAIT_S) -> None:
    """Refuses a file that ML Metadata would fail on in the middle of a run.

    Args:
      path: of the SQLite file; it need not exist.
      wait_s: for another process that writes to it.

    Raises:
      TesseraError: another process holds it, or it is no database.
    """
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=wait_s, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        raise TesseraError(
            f"{path}: cannot be written ({error}); another process uses it, or the disk refuses: "
            "end that process, or choose another folder with --set work_dir=DIR"
        ) from error
    except sqlite3.DatabaseError as error:
        raise TesseraError(
            f"{path}: {error}; remove it: the next run computes everything anew, what is "
            "published stays"
        ) from error
