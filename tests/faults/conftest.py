"""One small world for all tests of this folder."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.shared import once


@pytest.fixture(scope="session")
def world():
    """Tables with odd ids, taken through every step once."""
    from tests.faults.world import build, load

    return load(once("faults-world", build)[1])


@pytest.fixture
def quick_path(tmp_path):
    """A folder in memory where there is one: these tests flush many files."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)
