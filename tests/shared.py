"""What is made once for all processes of a test run."""

import fcntl
import os
import pickle
import shutil
import tempfile
from pathlib import Path

VARIABLE = "TESSERA_TEST_SHARED"


def start():
    """Makes the folder that all processes of a test run share; returns what removes it."""
    folder = tempfile.TemporaryDirectory(prefix="shared-")
    os.environ[VARIABLE] = folder.name
    return folder.cleanup


def once(name, make):
    """Returns a folder that `make(folder)` fills, and what `make` returned (pickled)."""
    base = Path(os.environ[VARIABLE])
    folder, made = base / name, base / f"{name}.made"
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            found = make(folder)
            (base / f"{name}.new").write_bytes(pickle.dumps(found))
            (base / f"{name}.new").rename(made)
    return folder, pickle.loads(made.read_bytes())
