"""The compiled chain, executed with its real commands in an object store; days that are missing."""

import json
import os
import signal
import time

import pytest

from tests.e2e.compiled_world import (
    FIRST_DAY,
    LAST_DAY,
    MIDDLE_DAY,
    NAME,
    SETTINGS,
    WINDOW,
    ExecutingStub,
    World,
    entrypoint_of,
    kill_when,
    wait_for,
)
from tests.e2e.conftest import tessera, write_config
from tests.object_store import running_s3

SECRET = "xK7/not-for-the-eyes-of-logs/9"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with running_s3() as s3:
        os.environ["AWS_SECRET_ACCESS_KEY"] = SECRET  # restored with the server's variables
        world = World(tmp_path_factory.mktemp("compiled"), s3)
        # The items of the middle day are late.
        world.upload(without=[f"items/span={MIDDLE_DAY}"])
        yield world
        world.stop()


@pytest.fixture(scope="module")
def first_day(world):
    """A run in which a task is killed while it trains, one while it publishes, and the runner."""
    world.s3.faults.reset(_slow_publishing)  # so that the Pusher is met while it publishes
    trainer = kill_when("Trainer", lambda: [p for p in world.logs("Trainer") if _started(p)])
    pusher = kill_when("Pusher", lambda: _being_published(world))
    runner = world.start(FIRST_DAY)
    wait_for(lambda: entrypoint_of("IndexBuilder"))
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
    if entrypoint_of("Pusher") is None:
        return False
    keys = world.s3.keys(f"{world.serving_root}/{NAME}")
    return any(key.split("/")[0].isdigit() for key in keys) and not world.published()


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


def test_nothing_half_made_is_published(world, first_day):
    """The number that the killed Pusher had claimed is never given again."""
    assert list(world.published()) == [2]
    done = tessera("versions", "--serving-dir", world.serving_root, "--name", NAME, "--verify")
    assert done.code == 0, done.out
    assert "2024-03-29" in done.out


def test_the_manifest_names_the_runs_day_and_tables(world, first_day):
    manifest = world.manifests()[2]
    assert (manifest["run_date"], manifest["data_root"]) == (FIRST_DAY.isoformat(), world.data_root)
    assert manifest["baseline_version"] is None


def test_the_exit_handler_keeps_how_the_run_ended(world, first_day):
    status = json.loads(world.s3.keys(world.s3.url("status"))[f"{NAME}-{FIRST_DAY}.json"])
    assert (status["state"], status["run_date"]) == ("COMPLETE", FIRST_DAY.isoformat())


def test_the_bundle_is_the_one_that_the_local_runner_publishes(world, first_day, tmp_path):
    conf = write_config(
        tmp_path / "local.yaml",
        world.tables,
        tmp_path,
        name=NAME,
        data={"root": str(world.tables), **WINDOW},
        **SETTINGS,
    )
    done = tessera("run", "--conf", conf, "--set", f"data.run_date={FIRST_DAY}")
    assert done.code == 0, done.err
    folder = tmp_path / "serving" / NAME / "1"
    here = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert here == set(world.published()[2])
    local, compiled = json.loads((folder / "manifest.json").read_text()), world.manifests()[2]
    assert local.keys() == compiled.keys()
    for key in ("training_digest", "data_fingerprint", "code_digest", "span", "primary_metric"):
        assert local[key] == compiled[key], key
    # Same tables, configuration and seed: the same weights, vectors, requests and metrics.
    # (Graphs hold names that TensorFlow counts up, and index.json its own building time.)
    made = ("item_embeddings.npy", "items.parquet", "requests.parquet", "assets/", "warm_start/voc")
    equal = [name for name in here if name.startswith((*made, "warm_start/weights.npz"))]
    assert len(equal) >= 11
    assert [n for n in equal if local["files"][n] != compiled["files"][n]] == []
    assert local["metrics"] == compiled["metrics"]


def test_what_was_published_answers(world, first_day):
    done = tessera(
        "recommend", "--bundle", f"{world.serving_root}/{NAME}", "--history", "i1,i2", "-n", 5,
        "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert len(done.json()["items"]) == 5


def backfill(world, stub):
    return tessera(
        "backfill", world.file, "--conf", world.conf, "--host", stub.url, "--from", FIRST_DAY,
        "--to", LAST_DAY, "--poll-s", "0.5", "--json", timeout=2000,
    )  # fmt: skip


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


def test_nothing_that_looks_like_a_secret_is_in_what_runs_leave(world, first_day):
    """The bucket's credentials are in every task's environment."""
    kept = [*world.work_dir.rglob("*.log"), *world.work_dir.rglob("*.json"), world.file]
    assert len(kept) > 14
    for path in kept:
        assert SECRET not in path.read_text(errors="replace")
