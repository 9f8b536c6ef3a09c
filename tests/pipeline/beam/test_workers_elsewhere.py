"""ExampleGen on workers that share no folder with the process that submits: Prism and a store.

The store is SeaweedFS where it is built, else moto's server. Nightly: starting job server, pool
and workers takes more than a minute on a busy machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.example_gen import parts
from core.storage import SHARED_VARIABLE
from tests.components.example_gen_remote import (
    content,
    elsewhere,
    executed,
    places_below,
    write_world,
)
from tests.object_store import BEST_KIND, S3, running_s3
from tests.pipeline.beam.test_prism import IN_PROCESS, PRISM, prism

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PRISM.is_file(), reason="Prism is not built here: make prism"),
]


@pytest.fixture(scope="module")
def store() -> Iterator[S3]:
    with running_s3(BEST_KIND) as found:
        yield found


@pytest.fixture
def world(tmp_path: Path, store: S3) -> dict[str, Any]:
    config = write_world(tmp_path / "tables")
    places = places_below(str(tmp_path / "here"))
    wanted = executed(config, config.data.root, places, IN_PROCESS)
    return {
        "config": config,
        "url": store.put_tree(tmp_path / "tables", store.fresh()),
        "wanted": wanted,
    }


def left_in(folder: Path) -> list[str]:
    """Names of the files but for the one that Beam leaves wherever it submits a job."""
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    return [name for name in names if name != "submission_environment_dependencies.txt"]


def test_no_folder_is_shared(
    world: dict[str, Any], store: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 4_000)
    workers, shared = tmp_path / "workers", store.fresh()
    workers.mkdir()
    with prism(tmp_path / "logs", monkeypatch, workers) as args, elsewhere(tmp_path / "me") as tmp:
        places = places_below(store.fresh())
        found = executed(world["config"], world["url"], places, args)
        assert found == world["wanted"]
        # The same by way of a URL to artifacts in a folder.
        monkeypatch.setenv(SHARED_VARIABLE, shared)
        places = places_below(str(tmp_path / "out"))
        assert executed(world["config"], world["url"], places, args) == world["wanted"]
        assert left_in(tmp) == left_in(Path.cwd()) == []
    assert content(shared) == {}
    assert left_in(workers) == []
    assert "Starting worker with command" in (tmp_path / "logs/pool.log").read_text()
