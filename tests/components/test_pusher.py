"""Publishing: atomic, verified, idempotent, one pusher at a time."""

import dataclasses
import datetime as dt
import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from components.bundle import Pins, list_versions, verify, write_pins
from components.bundle.lock import LOCK_NAME, push_lock
from components.bundle.reports import write_report_page
from components.config import PusherConfig
from components.pusher import push as push_module
from components.pusher import staging
from components.pusher.push import push
from core.errors import PushError
from tests.components.bundle_fixtures import (
    INDEX_FILES,
    WARM_FILES,
    make_request,
    numeric_folders,
    snapshot,
    write_tree,
)


def test_a_blessed_retriever_becomes_version_1_with_every_file_in_its_place(tmp_path):
    result = push(make_request(tmp_path, span="2025-01-10"), blessed=True)
    assert (result.pushed, result.version) == (True, 1)
    version_dir = tmp_path / "serving/demo/1"
    assert result.destination == version_dir
    assert (version_dir / "saved_model.pb").read_bytes() == b"stock graph"
    assert not (version_dir / "retriever").exists()
    assert (version_dir / "variables/variables.data-00000-of-00001").exists()
    for name, content in WARM_FILES.items():
        assert (version_dir / "warm_start" / name).read_bytes() == content
    manifest = json.loads((version_dir / "manifest.json").read_text())
    on_disk = {
        path.relative_to(version_dir).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in version_dir.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert {name: entry["sha256"] for name, entry in manifest["files"].items()} == on_disk
    assert manifest["metrics"] == {"recall@100": 0.25, "mrr": None}
    assert (manifest["span"], manifest["run_date"]) == (20098, "2025-01-10")
    assert manifest["parent_version"] is None


def test_a_nested_saved_model_survives(tmp_path):
    push(make_request(tmp_path), blessed=True)
    nested = tmp_path / "serving/demo/1/retriever_scann/saved_model.pb"
    assert nested.read_bytes() == b"scann graph"


def test_without_a_blessing_the_serving_folder_stays_byte_identical(tmp_path):
    push(make_request(tmp_path), blessed=True)
    before = snapshot(tmp_path / "serving")
    result = push(make_request(tmp_path, "two"), blessed=False)
    assert not result.pushed and result.version is None and "not blessed" in result.reason
    assert snapshot(tmp_path / "serving") == before


@pytest.mark.fault(59)
def test_without_a_blessing_no_serving_folder_is_made(tmp_path):
    push(make_request(tmp_path), blessed=False)
    assert not (tmp_path / "serving").exists()


def test_equal_content_is_published_once(tmp_path):
    push(make_request(tmp_path), blessed=True)
    result = push(make_request(tmp_path, run_id="another"), blessed=True)
    assert (result.pushed, result.version) == (True, 1)
    assert "already" in result.reason
    assert numeric_folders(tmp_path / "serving/demo") == [1]


def test_versions_grow_and_name_their_parent(tmp_path):
    for content in ("one", "two", "three"):
        push(make_request(tmp_path, content), blessed=True)
    versions = list_versions(tmp_path / "serving/demo")
    assert [v.version for v in versions] == [1, 2, 3]
    assert [v.manifest.parent_version for v in versions] == [None, 1, 2]


@pytest.mark.fault(56)
def test_versions_grow_when_the_clock_goes_back(tmp_path):
    noon = dt.datetime(2026, 1, 2, 12, tzinfo=dt.timezone.utc)
    first = push(make_request(tmp_path, "one"), blessed=True, now=lambda: noon)
    hour_back = push(
        make_request(tmp_path, "two"), blessed=True, now=lambda: noon - dt.timedelta(hours=1)
    )
    same_second = push(make_request(tmp_path, "three"), blessed=True, now=lambda: noon)
    assert [first.version, hour_back.version, same_second.version] == [1, 2, 3]


@pytest.mark.fault(56)
def test_the_number_of_a_deleted_newest_version_is_not_given_again(tmp_path):
    for content in ("one", "two"):
        push(make_request(tmp_path, content), blessed=True)
    newest = tmp_path / "serving/demo/2"
    newest.rename(tmp_path / "gone")
    assert push(make_request(tmp_path, "three"), blessed=True).version == 3


def test_a_foreign_folder_of_digits_is_left_alone_and_not_reused(tmp_path):
    write_tree(tmp_path / "serving/demo", {"0041/junk": b"x"})
    assert push(make_request(tmp_path), blessed=True).version == 42
    assert (tmp_path / "serving/demo/0041/junk").exists()


def _files_of_a_push():
    return len(INDEX_FILES) + len(WARM_FILES) + 1


@pytest.mark.parametrize("copied", range(_files_of_a_push() + 1))
def test_a_failure_after_any_copied_file_leaves_nothing_visible(tmp_path, monkeypatch, copied):
    push(make_request(tmp_path), blessed=True)
    before = snapshot(tmp_path / "serving/demo/1")
    done = []
    real = staging.copy_file

    def failing(source, target):
        if len(done) == copied:
            raise OSError(errno.ENOSPC, "No space left on device")
        done.append(target)
        real(source, target)

    def failing_manifest(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(staging, "copy_file", failing)
    if copied == _files_of_a_push():
        monkeypatch.setattr(staging, "write_manifest", failing_manifest)
    with pytest.raises(PushError, match="No space left"):
        push(make_request(tmp_path, "two"), blessed=True)
    assert numeric_folders(tmp_path / "serving/demo") == [1]
    assert not list((tmp_path / "serving/demo").glob(".tmp-*"))
    assert snapshot(tmp_path / "serving/demo/1") == before
    monkeypatch.undo()
    assert push(make_request(tmp_path, "two"), blessed=True).version in (2, 3)


def _push_and_die(root, copied):
    real, done = staging.copy_file, []

    def dying(source, target):
        if len(done) == copied:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(target)
        real(source, target)

    staging.copy_file = dying
    if copied == "manifest":
        staging.write_manifest = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if copied == "rename":
        staging.flush_folder = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    push(make_request(root, "two"), blessed=True)


@pytest.mark.fault(54)
@pytest.mark.parametrize("copied", [0, 1, 7, "manifest", "rename"])
def test_a_killed_pusher_leaves_no_version_and_blocks_nobody(tmp_path, copied):
    push(make_request(tmp_path), blessed=True)
    process = multiprocessing.get_context("fork").Process(
        target=_push_and_die, args=(tmp_path, copied)
    )
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    model_dir = tmp_path / "serving/demo"
    assert numeric_folders(model_dir) == [1]
    result = push(make_request(tmp_path, "two"), blessed=True)
    assert result.version >= 2
    assert not list(model_dir.glob(".tmp-*"))
    verify(result.destination)


@pytest.mark.fault(58)
def test_a_copy_that_differs_from_its_source_is_not_published(tmp_path, monkeypatch):
    real = staging.copy_file

    def corrupting(source, target):
        real(source, target)
        if target.name == "items.parquet":
            target.write_bytes(b"own")  # as long as the original

    monkeypatch.setattr(staging, "copy_file", corrupting)
    with pytest.raises(PushError, match=r"items\.parquet"):
        push(make_request(tmp_path), blessed=True)
    assert numeric_folders(tmp_path / "serving/demo") == []


def test_a_disk_that_is_really_full_publishes_nothing(tmp_path):
    small = tmp_path / "serving"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small file system here")
    try:
        request = make_request(tmp_path)
        (request.index_dir / "item_embeddings.npy").write_bytes(b"e" * 100_000)
        with pytest.raises(PushError, match="No space left on device"):
            push(request, blessed=True)
        assert numeric_folders(small / "demo") == []
        assert not list((small / "demo").glob(".tmp-*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_rename_that_is_refused_publishes_nothing(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(staging.os, "rename", refused)
    with pytest.raises(PushError, match="Permission denied"):
        push(make_request(tmp_path), blessed=True)
    assert numeric_folders(tmp_path / "serving/demo") == []
    assert not list((tmp_path / "serving/demo").glob(".tmp-*"))


@pytest.mark.fault(55)
def test_a_serving_folder_on_another_file_system_works(tmp_path):
    shm = "/dev/shm"
    if not os.access(shm, os.W_OK) or os.stat(shm).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("no second file system here")
    other = Path(tempfile.mkdtemp(dir=shm))
    try:
        request = dataclasses.replace(make_request(tmp_path), serving_dir=other)
        verify(push(request, blessed=True).destination)
    finally:
        shutil.rmtree(other)


def test_a_serving_path_that_is_a_file_is_a_push_error(tmp_path):
    (tmp_path / "serving").write_text("a file")
    with pytest.raises(PushError, match="serving"):
        push(make_request(tmp_path), blessed=True)


def test_a_read_only_serving_folder_is_a_push_error(tmp_path, monkeypatch):
    request = make_request(tmp_path)
    serving = tmp_path / "serving"
    serving.mkdir()
    if os.geteuid() == 0:  # root may write anywhere: the kernel's answer is played

        def refused(self, *_, **__):
            raise PermissionError(errno.EACCES, "Permission denied", str(self))

        monkeypatch.setattr(push_module.Path, "mkdir", refused)
    else:
        serving.chmod(0o555)
    with pytest.raises(PushError, match="Permission denied"):
        push(request, blessed=True)
    assert list(serving.iterdir()) == []


def test_an_index_without_a_saved_model_is_refused(tmp_path):
    request = make_request(tmp_path)
    (request.index_dir / "retriever/saved_model.pb").unlink()
    with pytest.raises(PushError, match=r"saved_model\.pb"):
        push(request, blessed=True)


def _push_in_process(request, queue):
    queue.put(push(request, blessed=True).version)


@pytest.mark.fault(60)
def test_concurrent_pushers_do_not_interleave(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    shared = tmp_path / "shared"
    shared.mkdir()
    requests = []
    for content in [f"c{i}" for i in range(6)]:
        (tmp_path / content).mkdir()
        (tmp_path / content / "serving").symlink_to(shared)
        requests.append(make_request(tmp_path / content, content, lock_wait_s=60))
    processes = [
        context.Process(target=_push_in_process, args=(request, queue)) for request in requests
    ]
    for process in processes:
        process.start()
    versions = sorted(queue.get(timeout=300) for _ in processes)
    for process in processes:
        process.join(60)
    assert versions == [1, 2, 3, 4, 5, 6]
    kept = list_versions(shared / "demo")
    assert [v.version for v in kept] == [2, 3, 4, 5, 6]  # the newest five stay
    for version in kept:
        verify(version.path)
    assert [v.manifest.parent_version for v in kept] == [1, 2, 3, 4, 5]


@pytest.mark.fault(60)
def test_concurrent_pushers_of_equal_content_publish_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    request = make_request(tmp_path / "same", lock_wait_s=60)
    processes = [context.Process(target=_push_in_process, args=(request, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=300) for _ in processes] == [1, 1, 1]
    for process in processes:
        process.join(60)
    assert numeric_folders(tmp_path / "same/serving/demo") == [1]


def test_a_held_lock_is_an_error_that_names_its_holder(tmp_path):
    request = make_request(tmp_path, lock_wait_s=0.2)
    model_dir = tmp_path / "serving/demo"
    model_dir.mkdir(parents=True)
    with push_lock(model_dir, 0), pytest.raises(PushError, match=str(os.getpid())):
        push(request, blessed=True)
    assert numeric_folders(model_dir) == []


def test_a_lock_file_left_behind_blocks_nobody(tmp_path):
    write_tree(tmp_path / "serving/demo", {LOCK_NAME: b"99999"})
    assert push(make_request(tmp_path, lock_wait_s=0), blessed=True).version == 1


@pytest.mark.fault(61)
def test_retention_keeps_the_newest_the_pinned_and_the_served(tmp_path):
    model_dir = tmp_path / "serving/demo"
    for content in ("one", "two", "three"):
        push(make_request(tmp_path, content), blessed=True)
        write_report_page(
            str(tmp_path / "serving"), "demo", len(numeric_folders(model_dir)), "<html>"
        )
    write_pins(model_dir, Pins(pinned=(1,), labels={"stable": 2}))
    for content in ("four", "five"):
        result = push(make_request(tmp_path, content, keep_versions=2), blessed=True)
    assert numeric_folders(model_dir) == [1, 2, 4, 5]
    assert result.removed == (3,)
    assert sorted(path.name for path in (model_dir / "reports").iterdir()) == ["1.html", "2.html"]


@pytest.mark.fault(61)
def test_unreadable_pins_stop_retention_but_not_the_push(tmp_path):
    model_dir = tmp_path / "serving/demo"
    for content in ("one", "two"):
        push(make_request(tmp_path, content), blessed=True)
    (model_dir / "pins.json").write_text("{broken")
    result = push(make_request(tmp_path, "three", keep_versions=2), blessed=True)
    assert (result.version, result.removed) == (3, ())
    assert numeric_folders(model_dir) == [1, 2, 3]


def test_a_day_that_is_run_again_does_not_replace_a_later_one(tmp_path):
    for content, span in (("one", 101), ("two", 102)):
        assert push(make_request(tmp_path, content, span=span), blessed=True).pushed
    again = push(make_request(tmp_path, "one", span=101), blessed=True)
    assert (again.pushed, again.version) == (True, 1)
    retrained = push(make_request(tmp_path, "one anew", span=101), blessed=True)
    assert not retrained.pushed and "later day" in retrained.reason
    assert numeric_folders(tmp_path / "serving/demo") == [1, 2]


def test_a_model_of_an_older_day_is_published_on_demand(tmp_path):
    assert push(make_request(tmp_path, "two", span=102), blessed=True).pushed
    request = make_request(tmp_path, "one", span=101)
    wanted = dataclasses.replace(request, config=PusherConfig(allow_older_span=True))
    assert push(wanted, blessed=True).version == 2


def test_a_damaged_newest_version_is_published_anew(tmp_path):
    first = push(make_request(tmp_path, "one"), blessed=True)
    (first.destination / "saved_model.pb").write_bytes(b"damaged")
    assert push(make_request(tmp_path, "one"), blessed=True).version == 2


def test_a_refresh_that_a_training_overtook_is_not_published(tmp_path):
    for content in ("one", "two"):
        push(make_request(tmp_path, content), blessed=True)
    request = make_request(tmp_path, "one anew", refreshed_from=1, model_version=1)
    result = push(request, blessed=True)
    assert not result.pushed and "later model (of version 2)" in result.reason
    wanted = dataclasses.replace(request, config=PusherConfig(allow_older_span=True))
    assert push(wanted, blessed=True).version == 3
    manifest = list_versions(tmp_path / "serving/demo")[-1].manifest
    assert (manifest.refreshed_from, manifest.model_version, manifest.parent_version) == (1, 1, 2)


def test_a_refresh_without_new_items_is_the_version_it_started_from(tmp_path):
    for content in ("one", "two", "three"):
        push(make_request(tmp_path, content), blessed=True)
    request = make_request(tmp_path, "one", refreshed_from=1, model_version=1)
    assert push(request, blessed=True).version == 1
    assert push(make_request(tmp_path, "one"), blessed=True).version == 4  # no refresh: back to it


def test_a_trained_model_names_its_own_version(tmp_path):
    push(make_request(tmp_path, "one"), blessed=True)
    manifest = list_versions(tmp_path / "serving/demo")[-1].manifest
    assert (manifest.refreshed_from, manifest.model_version) == (None, 1)
