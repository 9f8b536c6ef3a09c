"""A store of small published versions, and servers over copies of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving import bundles


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Folders of three published versions whose neighbours share no item id."""
    root = tmp_path_factory.mktemp("store")
    return {version: bundles.publish(root, version) for version in bundles.PREFIXES}


@pytest.fixture
def model_dir(tmp_path):
    """An empty folder of a model."""
    folder = tmp_path / "serving" / bundles.NAME
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def start():
    """Starts servers that look for versions twenty times a second, and stops them."""
    from serving.server.engine import Engine
    from serving.server.process import ModelServer
    from serving.server.source import ModelFolder

    running = []

    def begin(folder: Path, **options):
        engine = Engine(ModelFolder(folder), **{"poll_s": 0.05, "retry_s": 0.05, **options})
        server = ModelServer(engine)
        server.start()
        running.append(server)
        return server

    yield begin
    for server in running:
        assert server.stop(60.0)


@pytest.fixture(scope="module")
def server(store):
    """A server over version 1 that the tests of a module only read from."""
    from serving.server.engine import Engine
    from serving.server.process import ModelServer
    from serving.server.source import OneBundle

    running = ModelServer(Engine(OneBundle(store[1])))
    running.start()
    yield running
    assert running.stop(60.0)


def until(true: Callable[[], bool], seconds: float = 300.0) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
