"""The compiled chain, executed task by task with its real commands in an object store."""

import json
import os

import pytest

from tests import forkserver
from tests.e2e.compiled_world import NAME, World
from tests.e2e.conftest import FIRST_DAY, tessera
from tests.object_store import running_s3

SECRET = "xK7/not-for-the-eyes-of-logs/9"
pytestmark = pytest.mark.slow("the whole chain, every task with its command and its own process")


@pytest.fixture(scope="module")
def world(tables, tmp_path_factory):
    with running_s3() as s3:
        os.environ["AWS_SECRET_ACCESS_KEY"] = SECRET  # restored with the server's variables
        folder = tmp_path_factory.mktemp("compiled")
        world = World(folder, s3, tables, forkserver.interpreter())
        world.upload()
        yield world
        world.stop()


@pytest.fixture(scope="module")
def first_day(world):
    run = world.start(FIRST_DAY)
    out, _ = run.communicate()
    assert run.returncode == 0, out
    return out


def test_the_manifest_names_the_runs_day_and_tables(world, first_day):
    manifest = world.manifests()[1]
    assert (manifest["run_date"], manifest["data_root"]) == (FIRST_DAY.isoformat(), world.data_root)
    assert manifest["baseline_version"] is None


@pytest.mark.fault(73)
def test_the_exit_handler_keeps_how_the_run_ended(world, first_day):
    status = json.loads(world.s3.keys(world.s3.url("status"))[f"{NAME}-{FIRST_DAY}.json"])
    assert (status["state"], status["run_date"]) == ("COMPLETE", FIRST_DAY.isoformat())


def test_the_published_version_is_whole(world, first_day):
    assert list(world.published()) == [1]
    done = tessera("versions", "--serving-dir", world.serving_root, "--name", NAME, "--verify")
    assert done.code == 0, done.out
    assert FIRST_DAY.isoformat() in done.out


def test_the_bundle_is_the_one_that_the_local_runner_publishes(world, first_day, published):
    folder = published.bundle
    here = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert here == set(world.published()[1])
    local, compiled = json.loads((folder / "manifest.json").read_text()), world.manifests()[1]
    assert local.keys() == compiled.keys()
    # The fingerprint of tables under a URL is made of what the store says of its objects.
    for key in ("training_digest", "code_digest", "span", "primary_metric"):
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


@pytest.mark.fault(80)
def test_nothing_that_looks_like_a_secret_is_in_what_runs_leave(world, first_day):
    """The bucket's credentials are in every task's environment."""
    kept = [*world.work_dir.rglob("*.log"), *world.work_dir.rglob("*.json"), world.file]
    assert len(kept) > 14
    for path in kept:
        assert SECRET not in path.read_text(errors="replace")
