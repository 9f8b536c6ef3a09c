"""One small world for all tests of this folder."""

import pytest


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Tables with odd ids, taken through every step once."""
    from tests.faults.world import build

    return build(tmp_path_factory.mktemp("world"))
