"""Faults of publishing."""

import contextlib
import dataclasses
import errno
import multiprocessing
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from components.bundle import Pins, list_versions, open_bundle, read_pins, verify
from components.bundle.labels import change, promoted, rolled_back
from components.bundle.served import served
from components.pusher import push as push_module
from components.pusher import staging
from components.pusher.push import push
from core.errors import BundleError, PushError
from tests.components.bundle_fixtures import (
    FINDINGS,
    INDEX_FILES,
    make_request,
    marked,
    numeric_folders,
    served_versions,
    snapshot,
    validation,
)
from tests.components.killed import killed_before, watched
from tests.faults.publishing import MODES, configured, publish_marked, three_versions


@pytest.mark.fault(52)
@pytest.mark.parametrize("part", ["manifest.json", *sorted(INDEX_FILES)])
def test_a_version_with_a_part_of_another_is_refused(tmp_path, part):
    model_dir = three_versions(tmp_path)
    part = part.removeprefix("retriever/")
    shutil.copyfile(model_dir / "2" / part, model_dir / "3" / part)
    with pytest.raises(BundleError, match=r"3/"):
        verify(model_dir / "3")
    with pytest.raises(BundleError, match=r"demo/3/|no version 3; published: 1, 2$"):
        change(model_dir, lambda pins, found: promoted(pins, found, 3, "stable"))
    assert read_pins(model_dir) == Pins()


@pytest.mark.fault(52)
@MODES
def test_a_reader_never_sees_model_and_index_of_two_versions(tmp_path, publish):
    model_dir = tmp_path / "serving/demo"
    publish_marked(tmp_path, "v1", publish=publish)
    done, seen, mixed = threading.Event(), set(), []

    def read():
        while not done.is_set():
            try:
                folder = open_bundle(model_dir).path
                marks = {
                    (folder / name.removeprefix("retriever/")).read_bytes()[-2:]
                    for name in INDEX_FILES
                }
            except (BundleError, FileNotFoundError):
                continue  # the version was removed while it was read: the reader asks again
            seen.update(marks)
            mixed.extend([marks] if len(marks) > 1 else [])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(2, 9):
            publish_marked(tmp_path, f"v{number}", publish=publish, keep_versions=2)
    finally:
        done.set()
        reader.join()
    assert not mixed and len(seen) > 1


@pytest.mark.fault(54)
@MODES
def test_no_reader_sees_an_incomplete_version_at_any_write(quick_path, publish):
    model_dir = three_versions(quick_path, publish=publish)
    request = marked(make_request(quick_path, "four", publish=publish, keep_versions=3), "four")
    allowed = [[1, 2, 3], [1, 2, 3, 4], [2, 3, 4]]

    def look():
        assert served_versions(model_dir) in allowed

    writes = watched(quick_path / "serving", lambda: push(request, blessed=True), look)
    assert writes > 20 and served_versions(model_dir) == [2, 3, 4]


@pytest.mark.fault(54)
@pytest.mark.nightly
@MODES
def test_killed_before_any_write_nothing_incomplete_is_left(quick_path, publish):
    model_dir = three_versions(quick_path, publish=publish)
    request = marked(make_request(quick_path, "four", publish=publish, keep_versions=3), "four")
    write, published = 0, 0
    while True:
        root = quick_path / f"killed-{write}"
        shutil.copytree(model_dir.parent, root, symlinks=True)
        here = dataclasses.replace(request, serving_dir=root)
        if not killed_before(write, root, lambda here=here: push(here, blessed=True)):
            break
        left = served_versions(root / "demo")
        assert left in ([1, 2, 3], [1, 2, 3, 4], [2, 3, 4])
        published += 4 in left
        after = push(here, blessed=True)
        assert after.version == 4 if 4 in left else after.version in (4, 5)
        assert served_versions(root / "demo") in ([1, 2, 3, 4], [2, 3, after.version])
        names = {path.name for path in (root / "demo").iterdir()} - {"scann"}
        assert not [name for name in names if name.startswith((".tmp", ".unfinished"))]
        assert numeric_folders(root / "demo") == served_versions(root / "demo")
        write += 1
        shutil.rmtree(root)
    assert write > 20 and 0 < published < write


@pytest.mark.fault(55)
@MODES
def test_a_target_that_exists_is_left_alone(tmp_path, publish, monkeypatch):
    model_dir = three_versions(tmp_path)
    (model_dir / "4").mkdir()
    (model_dir / "4/theirs").write_bytes(b"x")
    monkeypatch.setattr(push_module, "next_version", lambda _: 4)
    before = snapshot(model_dir / "4")
    with pytest.raises(PushError, match="4: exists already"):
        publish_marked(tmp_path, "four", publish=publish)
    assert snapshot(model_dir / "4") == before
    assert [bundle.version for bundle in list_versions(model_dir)] == [1, 2, 3]


@contextlib.contextmanager
def mounted(folder, options):
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.fault(55)
@MODES
def test_a_read_only_target_is_a_push_error(tmp_path, publish):
    serving = tmp_path / "serving"
    with mounted(serving, "size=8m"):
        publish_marked(tmp_path, "one", publish=publish)
        subprocess.run(["mount", "-o", "remount,ro", str(serving)], check=True)
        before = snapshot(serving)
        with pytest.raises(PushError, match="Read-only file system"):
            publish_marked(tmp_path, "two", publish=publish)
        assert snapshot(serving) == before


@pytest.mark.fault(55)
@pytest.mark.parametrize("refused", [errno.EXDEV, errno.ENOTSUP, errno.ENOSYS])
def test_where_a_folder_can_not_be_renamed_it_is_written_in_place(
    tmp_path, monkeypatch, caplog, refused
):
    def rename(*_):
        raise OSError(refused, os.strerror(refused))

    monkeypatch.setattr(staging.os, "rename", rename)
    for mark in ("one", "two", "three"):
        publish_marked(tmp_path, mark, keep_versions=2)
    assert "pusher.publish: ordered" in caplog.text
    assert served_versions(tmp_path / "serving/demo") == [2, 3]
    assert not list((tmp_path / "serving/demo").glob(".tmp-*"))


@pytest.mark.fault(55)
def test_where_no_file_can_be_renamed_either_the_graph_is_written_last(tmp_path, monkeypatch):
    """The store is played: only the files beside the versions can be replaced."""
    real, writes = os.replace, []

    def replace(source, target):
        if Path(target).name == "saved_model.pb":
            raise OSError(errno.ENOTSUP, "Operation not supported")
        real(source, target)

    copy = staging.copy_file

    def copied(source, target):
        writes.append(Path(target))
        copy(source, target)

    monkeypatch.setattr("components.pusher.ordered.os.replace", replace)
    monkeypatch.setattr("components.pusher.ordered.copy_file", copied)
    monkeypatch.setattr(staging, "copy_file", copied)
    version = publish_marked(tmp_path, "one", publish="ordered").destination
    assert writes[-1] == version / "saved_model.pb" and (version / "manifest.json").exists()
    assert served_versions(version.parent) == [1]


@pytest.mark.fault(57)
@MODES
def test_a_nested_saved_model_survives(tmp_path, publish):
    version = publish_marked(tmp_path, "one", publish=publish).destination
    assert (version / "retriever_scann/saved_model.pb").read_bytes() == b"scann graphone"
    assert (version / "saved_model.pb").read_bytes() == b"stock graphone"
    through = version.parent / "scann/1"
    assert os.readlink(through) == "../1/retriever_scann"
    assert (through / "saved_model.pb").read_bytes() == b"scann graphone"


@pytest.mark.fault(58)
@MODES
@pytest.mark.parametrize("name", ["saved_model.pb", "retriever_scann/saved_model.pb"])
def test_a_copy_that_differs_is_not_published(tmp_path, monkeypatch, publish, name):
    publish_marked(tmp_path, "one", publish=publish)
    request = marked(make_request(tmp_path, "two", publish=publish), "two")
    source = request.index_dir / (name if "/" in name else f"retriever/{name}")
    real = staging.copy_file

    def corrupting(path, target):
        real(path, target)
        if path == source:
            target.write_bytes(path.read_bytes()[::-1])

    monkeypatch.setattr(staging, "copy_file", corrupting)
    monkeypatch.setattr("components.pusher.ordered.copy_file", corrupting)
    with pytest.raises(PushError, match="does not match"):
        push(request, blessed=True)
    model_dir = tmp_path / "serving/demo"
    assert numeric_folders(model_dir) == served_versions(model_dir) == [1]
    assert not [p for p in model_dir.iterdir() if p.name.startswith((".tmp", ".unfinished"))]


@pytest.mark.fault(59)
@pytest.mark.parametrize(("blessed", "validated"), [(False, True), (True, False), (False, False)])
def test_not_blessed_or_not_validated_the_folder_stays_byte_identical(tmp_path, blessed, validated):
    model_dir = three_versions(tmp_path)
    change(model_dir, lambda pins, found: promoted(pins, found, 2, "stable"))
    before = snapshot(tmp_path / "serving")
    request = dataclasses.replace(
        make_request(tmp_path, "four"),
        validation_dir=validation(tmp_path / "v", validated, "median of 300 ms, budget 250 ms"),
    )
    result = push(request, blessed=blessed, validated=validated)
    assert (result.pushed, result.version) == (False, None)
    reason = "not blessed" if not blessed else "median of 300 ms, budget 250 ms: nothing"
    assert reason in result.reason
    assert snapshot(tmp_path / "serving") == before


@pytest.mark.fault(59)
def test_what_the_validator_adds_is_published_and_does_not_make_new_content(tmp_path):
    plain = push(make_request(tmp_path, "one"), blessed=True)
    request = dataclasses.replace(
        make_request(tmp_path, "one"), validation_dir=validation(tmp_path / "v")
    )
    again = push(request, blessed=True)
    assert (again.version, "already" in again.reason) == (plain.version, True)
    other = dataclasses.replace(
        make_request(tmp_path, "two"), validation_dir=validation(tmp_path / "v")
    )
    version = push(other, blessed=True).destination
    for name, content in FINDINGS.items():
        assert (version / name).read_bytes() == content
    assert set(FINDINGS) <= set(verify(version).files)


def _in_process(work, queue):
    work()
    queue.put(True)


@pytest.mark.fault(60)
def test_pushers_and_those_who_label_and_pin_do_not_undo_each_other(tmp_path):
    model_dir = three_versions(tmp_path)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    wait = {"wait_s": 60.0}
    work = [
        lambda: publish_marked(tmp_path, "four", lock_wait_s=60),
        lambda: change(model_dir, lambda p, found: promoted(p, found, 2, "stable"), **wait),
        lambda: change(model_dir, lambda p, found: promoted(p, found, 3, "canary"), **wait),
        lambda: change(model_dir, lambda p, _: p.with_pin(1), **wait),
        lambda: change(model_dir, lambda p, _: p.with_pin(2), **wait),
    ]
    processes = [context.Process(target=_in_process, args=(one, queue)) for one in work]
    for process in processes:
        process.start()
    assert [queue.get(timeout=300) for _ in processes] == [True] * len(work)
    for process in processes:
        process.join(60)
    pins = read_pins(model_dir)
    assert (pins.pinned, pins.labels) == ((1, 2), {"stable": 2, "canary": 3})
    assert served_versions(model_dir) == [1, 2, 3, 4]
    assert dict(configured(model_dir).version_labels) == pins.labels


@pytest.mark.fault(61)
@MODES
def test_retention_keeps_newest_served_pinned_and_where_a_rollback_leads(tmp_path, publish):
    model_dir = three_versions(tmp_path, publish=publish)
    publish_marked(tmp_path, "four", publish=publish)
    for version in (2, 3):  # 2 was served before 3
        change(model_dir, lambda pins, found, v=version: promoted(pins, found, v, "stable"))
    change(model_dir, lambda pins, _: pins.with_pin(1))
    for mark in ("five", "six"):
        result = publish_marked(tmp_path, mark, publish=publish, keep_versions=2)
    assert result.removed == (4,)
    assert served_versions(model_dir) == [1, 2, 3, 5, 6]
    assert served(model_dir).versions == (3,)
    change(model_dir, lambda pins, found: rolled_back(pins, found, None))
    assert served(model_dir).versions == (2,)
