"""A worker that dies half-way: an error, or a run that tried again, never a part of the result.

Nightly: it starts job server, pool and workers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from core.errors import JobError
from tests.components.example_gen_remote import executed, places_below, write_world
from tests.pipeline.beam.test_prism import IN_PROCESS, PRISM, prism

#: In the command of a worker.
WORKER = "sdk_worker"
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PRISM.is_file(), reason="Prism is not built here: make prism"),
]


def workers() -> list[psutil.Process]:
    """Beam's worker processes below this one."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if any(WORKER in word for word in child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


@contextmanager
def killed_after(examples: Path, files: int) -> Iterator[list[int]]:
    """Kills all workers when that many files of examples are there; yields their ids."""
    killed: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.005):
            if len(list(examples.glob("Split-*/*.parquet"))) >= files:
                for worker in workers():
                    worker.kill()
                    killed.append(worker.pid)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


def test_a_worker_that_is_killed_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_world(tmp_path / "tables").model_copy(update={"bucket_rows": 20})
    root, places = config.data.root, places_below(str(tmp_path / "there"))
    wanted = executed(config, root, places_below(str(tmp_path / "here")), IN_PROCESS)
    assert len(wanted["files"]) > 40
    with prism(tmp_path / "logs", monkeypatch) as args:
        with killed_after(Path(places["examples"]), 3) as killed:
            try:
                # A runner may try again. Prism does not.
                assert executed(config, root, places, args) == wanted
            except JobError as error:
                assert "ExampleGen: Beam's job job-001 ended in state FAILED" in str(error)
                assert not (Path(places["report"]) / "data_report.json").exists()
        assert len(killed) == 1
        # The same again, over what the first try left.
        assert executed(config, root, places, args) == wanted
