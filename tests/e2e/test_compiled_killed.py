"""The compiled chain in real processes that are killed, and a back-fill of days with one broken."""

import json
import signal
import sys
import time

import pytest

from tests.e2e.compiled_world import (
    MIDDLE_DAY,
    NAME,
    ExecutingStub,
    World,
    wait_for,
)
from tests.e2e.conftest import FIRST_DAY, LAST_DAY, tessera
from tests.object_store import BEST_KIND, running_s3

pytestmark = [
    pytest.mark.slow("several days of the whole chain"),
    pytest.mark.nightly,
    pytest.mark.timeout(2400),
]


@pytest.fixture(scope="module")
def world(tables, tmp_path_factory):
    with running_s3(BEST_KIND) as s3:
        world = World(tmp_path_factory.mktemp("compiled"), s3, tables, sys.executable)
        # The items of the middle day are late.
        world.upload(without=[f"items/span={MIDDLE_DAY}"])
        yield world
        world.stop()


@pytest.fixture(scope="module")
def first_day(world):
    """A run in which a task is killed while it trains, one while it publishes, and the runner."""
    world.s3.faults.reset(_slow_publishing)  # so that the Pusher is met while it publishes
    trainer = world.kill_when("Trainer", lambda: [p for p in world.logs("Trainer") if _started(p)])
    pusher = world.kill_when("Pusher", lambda: _being_published(world))
    runner = world.start(FIRST_DAY)
    wait_for(lambda: world.entrypoint_of("IndexBuilder"))
    runner.send_signal(signal.SIGKILL)
    runner.communicate()
    second = world.start(FIRST_DAY)
    out, _ = second.communicate()
    trainer.join(5)
    pusher.join(5)
    world.s3.faults.reset()
    assert second.returncode == 0, out
    return out


def _slow_publishing(method, path):
    if method == "PUT" and f"/serving/{NAME}/" in path:
        time.sleep(0.3)


def _started(path):
    return "Starting executor" in path.read_text(errors="replace")


def _being_published(world):
    if world.entrypoint_of("Pusher") is None:
        return False
    keys = world.s3.keys(f"{world.serving_root}/{NAME}")
    return any(key.split("/")[0].isdigit() for key in keys) and not world.published()


@pytest.mark.fault(35)
def test_a_run_whose_tasks_and_runner_were_killed_completes_at_the_second_call(world, first_day):
    assert "goes on: 8 tasks are done" in first_day
    assert [line.split()[0] for line in first_day.splitlines() if "done before" in line] == [
        "CuratedSchema", "RetrievalExampleGen", "BaselineResolver", "StatisticsGen",
        "ExampleValidator", "DataGate", "Transform", "Trainer",
    ]  # fmt: skip
    assert "Pusher: ended by SIGKILL" in first_day
    (state,) = world.work_dir.glob("runs/*/state.json")
    tasks = json.loads(state.read_text())["tasks"]
    assert (tasks["Trainer"]["attempts"], tasks["Pusher"]["attempts"]) == (2, 2)


@pytest.mark.fault(35)
def test_nothing_half_made_is_published(world, first_day):
    """The number that the killed Pusher had claimed is never given again."""
    assert list(world.published()) == [2]
    done = tessera("versions", "--serving-dir", world.serving_root, "--name", NAME, "--verify")
    assert done.code == 0, done.out
    assert "2024-03-29" in done.out


def backfill(world, stub):
    return tessera(
        "backfill", world.file, "--conf", world.conf, "--host", stub.url, "--from", FIRST_DAY,
        "--to", LAST_DAY, "--poll-s", "0.5", "--json", timeout=2000,
    )  # fmt: skip


@pytest.mark.fault(78)
def test_a_backfill_with_a_broken_middle_day_and_the_call_after_it(world, first_day):
    stub = ExecutingStub().run_with(world)
    try:
        done = backfill(world, stub)
        assert done.code == 1, done.err
        first, middle, last = done.json()["days"]
        assert (first["outcome"], first["version"]) == ("skipped", 2)
        assert middle["outcome"] == "failed"
        assert f"{world.data_root}/items/span={MIDDLE_DAY}" in middle["note"]
        assert last["outcome"] == "done", done.err
        manifest = world.manifests()[last["version"]]
        assert manifest["run_date"] == LAST_DAY.isoformat()
        # The day starts from the newest published one before it.
        assert manifest["baseline_version"] == 2
        newest = world.logs("Trainer")[-1].read_text(errors="replace")
        assert "from scratch" not in newest

        world.upload()
        again = backfill(world, stub)
        assert again.code == 0, again.err
        assert [day["outcome"] for day in again.json()["days"]] == ["skipped", "done", "skipped"]
        # A later day is served: the model of an older one does not take its place.
        assert again.json()["days"][1]["version"] is None
        assert max(world.published()) == last["version"]
        assert len(stub.runs) == 3
        assert stub.contract == []

        nothing = backfill(world, stub)
        assert {day["outcome"] for day in nothing.json()["days"]} == {"skipped"}
        assert (nothing.code, len(stub.runs)) == (0, 3)
    finally:
        stub.close()
