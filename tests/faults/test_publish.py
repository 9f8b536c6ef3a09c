"""Faults of publishing and of choosing what is served."""

import contextlib
import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from components.bundle import Pins, list_versions, open_bundle, read_pins, verify, write_pins
from components.bundle.labels import change, promoted, rolled_back
from components.bundle.rollback import STANDBY, roll_back
from components.bundle.served import served
from components.pusher import push as push_module
from components.pusher import staging
from components.pusher.push import push
from core.errors import BundleError, PushError
from pipeline.commands.promote import promote
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

MODES = pytest.mark.parametrize("publish", ["rename", "ordered"])


@pytest.fixture
def quick_path(tmp_path):
    """A folder in memory where there is one: these tests flush many files."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def publish_marked(root, mark, **fields):
    return push(marked(make_request(root, mark, **fields), mark), blessed=True)


def three_versions(root, **fields):
    for mark in ("one", "two", "three"):
        publish_marked(root, mark, **fields)
    return root / "serving/demo"


def configured(model_dir, name="models.config"):
    """The entry of the model in a configuration, parsed as TensorFlow Serving parses it."""
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((model_dir.parent / name).read_text(), config)
    (entry,) = config.model_config_list.config
    return entry


@pytest.mark.parametrize("part", ["manifest.json", *sorted(INDEX_FILES)])
def test_52_a_version_with_a_part_of_another_is_refused(tmp_path, part):
    model_dir = three_versions(tmp_path)
    part = part.removeprefix("retriever/")
    shutil.copyfile(model_dir / "2" / part, model_dir / "3" / part)
    with pytest.raises(BundleError, match=r"3/"):
        verify(model_dir / "3")
    with pytest.raises(BundleError, match=r"demo/3/|no version 3; published: 1, 2$"):
        change(model_dir, lambda pins, found: promoted(pins, found, 3, "stable"))
    assert read_pins(model_dir) == Pins()


@MODES
def test_52_a_reader_never_sees_model_and_index_of_two_versions(tmp_path, publish):
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


@MODES
def test_54_no_reader_sees_an_incomplete_version_at_any_write(quick_path, publish):
    model_dir = three_versions(quick_path, publish=publish)
    request = marked(make_request(quick_path, "four", publish=publish, keep_versions=3), "four")
    allowed = [[1, 2, 3], [1, 2, 3, 4], [2, 3, 4]]

    def look():
        assert served_versions(model_dir) in allowed

    writes = watched(quick_path / "serving", lambda: push(request, blessed=True), look)
    assert writes > 20 and served_versions(model_dir) == [2, 3, 4]


@MODES
def test_54_killed_before_any_write_nothing_incomplete_is_left(quick_path, publish):
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


@MODES
def test_55_a_target_that_exists_is_left_alone(tmp_path, publish, monkeypatch):
    model_dir = three_versions(tmp_path)
    (model_dir / "4").mkdir()
    (model_dir / "4/theirs").write_bytes(b"x")
    monkeypatch.setattr(push_module, "next_version", lambda _: 4)
    before = snapshot(model_dir / "4")
    with pytest.raises(PushError, match="4: exists already"):
        publish_marked(tmp_path, "four", publish=publish)
    assert snapshot(model_dir / "4") == before and served_versions(model_dir) == [1, 2, 3]


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


@MODES
def test_55_a_read_only_target_is_a_push_error(tmp_path, publish):
    serving = tmp_path / "serving"
    with mounted(serving, "size=8m"):
        publish_marked(tmp_path, "one", publish=publish)
        subprocess.run(["mount", "-o", "remount,ro", str(serving)], check=True)
        before = snapshot(serving)
        with pytest.raises(PushError, match="Read-only file system"):
            publish_marked(tmp_path, "two", publish=publish)
        assert snapshot(serving) == before


@pytest.mark.parametrize("refused", [errno.EXDEV, errno.ENOTSUP, errno.ENOSYS])
def test_55_where_a_folder_can_not_be_renamed_it_is_written_in_place(
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


def test_55_where_no_file_can_be_renamed_either_the_graph_is_written_last(tmp_path, monkeypatch):
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


@MODES
def test_57_a_nested_saved_model_survives(tmp_path, publish):
    version = publish_marked(tmp_path, "one", publish=publish).destination
    assert (version / "retriever_scann/saved_model.pb").read_bytes() == b"scann graphone"
    assert (version / "saved_model.pb").read_bytes() == b"stock graphone"
    through = version.parent / "scann/1"
    assert os.readlink(through) == "../1/retriever_scann"
    assert (through / "saved_model.pb").read_bytes() == b"scann graphone"


@MODES
@pytest.mark.parametrize("name", ["saved_model.pb", "retriever_scann/saved_model.pb"])
def test_58_a_copy_that_differs_is_not_published(tmp_path, monkeypatch, publish, name):
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


@pytest.mark.parametrize(("blessed", "validated"), [(False, True), (True, False), (False, False)])
def test_59_not_blessed_or_not_validated_the_folder_stays_byte_identical(
    tmp_path, blessed, validated
):
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


def test_59_what_the_validator_adds_is_published_and_does_not_make_new_content(tmp_path):
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


def test_60_pushers_and_those_who_label_and_pin_do_not_undo_each_other(tmp_path):
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
    assert [queue.get(timeout=60) for _ in processes] == [True] * len(work)
    for process in processes:
        process.join(60)
    pins = read_pins(model_dir)
    assert (pins.pinned, pins.labels) == ((1, 2), {"stable": 2, "canary": 3})
    assert served_versions(model_dir) == [1, 2, 3, 4]
    assert dict(configured(model_dir).version_labels) == pins.labels


@MODES
def test_61_retention_keeps_newest_served_pinned_and_where_a_rollback_leads(tmp_path, publish):
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


def test_62_a_rollback_serves_a_smaller_number(tmp_path):
    model_dir = three_versions(tmp_path)
    assert served(model_dir).versions == (3,) and served(model_dir).labels == {}
    assert configured(model_dir).model_version_policy.latest.num_versions == 1
    for expected in (2, 1):
        now = change(model_dir, lambda pins, found: rolled_back(pins, found, None))
        assert now == served(model_dir)
        assert (now.versions, now.labels) == ((expected,), {"stable": expected})
        for name in ("models.config", "models-scann.config"):
            entry = configured(model_dir, name)
            assert list(entry.model_version_policy.specific.versions) == [expected]
            assert dict(entry.version_labels) == {"stable": expected}
    with pytest.raises(BundleError, match="no earlier one"):
        change(model_dir, lambda pins, found: rolled_back(pins, found, None))
    assert served(model_dir).versions == (1,)


def test_62_killed_before_any_write_a_rollback_is_done_or_not_and_is_mended(quick_path):
    model_dir = three_versions(quick_path)
    change(model_dir, lambda pins, found: promoted(pins, found, 3, "canary"))
    change(model_dir, lambda pins, found: promoted(pins, found, 2, "stable"))
    old, states, write = served(model_dir), [], 0

    def roll(folder):
        change(folder, lambda pins, found: rolled_back(pins, found, 1))

    while True:
        root = quick_path / f"killed-{write}"
        shutil.copytree(model_dir.parent, root, symlinks=True)
        folder = root / "demo"
        if not killed_before(write, root, lambda folder=folder: roll(folder)):
            break
        now = served(folder)
        assert now == old or (now.versions, now.labels) == ((1,), {"stable": 1})
        states.append((now == old, dict(configured(folder).version_labels) == now.labels))
        # Whatever comes next makes the configuration right: here, an unrelated pin.
        change(folder, lambda pins, _: pins.with_pin(2))
        assert dict(configured(folder).version_labels) == now.labels
        write += 1
    assert (False, False) in states  # killed between pins.json and models.config
    assert [was_old for was_old, _ in states] == sorted((s[0] for s in states), reverse=True)


def test_62_a_push_mends_a_configuration_that_was_left_behind(tmp_path):
    model_dir = three_versions(tmp_path)
    write_pins(model_dir, Pins(labels={"stable": 2}))
    assert not configured(model_dir).version_labels
    publish_marked(tmp_path, "three")  # already published: nothing else is written
    assert dict(configured(model_dir).version_labels) == {"stable": 2}


def call(*arguments):
    result = CliRunner().invoke(promote, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_63_a_canary_that_is_not_published_or_damaged_is_refused(tmp_path):
    model_dir = three_versions(tmp_path)
    (model_dir / "2/items.parquet").write_bytes(b"other")
    before = snapshot(tmp_path / "serving")
    for version, why in ((9, "no version 9; published: 1, 2, 3"), (2, r"items\.parquet")):
        with pytest.raises(BundleError, match=why):
            call("--serving-dir", model_dir, version, "--label", "canary")
    assert snapshot(tmp_path / "serving") == before


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (("LOADING", 0, ""), "LOADING"),
        (("END", 3, "out of memory"), "END: out of memory"),
        (None, "NOT_FOUND: Could not find version 3"),
    ],
)
def test_63_a_canary_that_the_server_has_not_loaded_is_refused(tmp_path, status, why):
    from tests.components.model_service import AVAILABLE, model_service

    model_dir = three_versions(tmp_path)
    before = snapshot(tmp_path / "serving")
    with model_service(lambda version, _: AVAILABLE if version == 2 else status) as (server, log):
        words = ("--serving-dir", model_dir, "--server", server, "--label", "canary")
        with pytest.raises(PushError, match=why):
            call(3, *words)
        assert snapshot(tmp_path / "serving") == before
        assert call(2, *words).exit_code == 0
    assert log.asked == [("demo", 3), ("demo", 2)]
    assert served(model_dir).labels == {"canary": 2, "stable": 3}


@MODES
@pytest.mark.parametrize(
    ("status", "why"),
    [
        (("LOADING", 0, ""), r"within 0\.6 s .*its last word was LOADING"),
        (None, "NOT_FOUND: Could not find version 2"),
        (("END", 9, "Op type not registered"), "can not serve version 2.*Op type not registered"),
    ],
)
def test_65_what_the_server_does_not_load_is_taken_away_again(tmp_path, publish, status, why):
    from tests.components.model_service import model_service

    model_dir = tmp_path / "serving/demo"
    publish_marked(tmp_path, "one", publish=publish)
    before = snapshot(tmp_path / "serving")
    with model_service(lambda *_: status) as (server, _):
        probe = {"server": server, "server_timeout_s": 0.6, "publish": publish}
        with pytest.raises(PushError, match=f"(?s){why}.*version 2 was taken away again"):
            publish_marked(tmp_path, "two", keep_versions=2, **probe)
    assert served_versions(model_dir) == [1]
    after = snapshot(tmp_path / "serving")
    assert json.loads((model_dir / "last_version.json").read_text()) == {"version": 2}
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= {"demo/last_version.json", "demo/.push.lock", ".config.lock"}
    assert publish_marked(tmp_path, "two", publish=publish).version == 3


def test_65_a_server_that_does_not_answer_fails_the_push(tmp_path):
    publish_marked(tmp_path, "one")
    with pytest.raises(PushError, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
        publish_marked(tmp_path, "two", server="127.0.0.1:1", server_timeout_s=0.6)
    assert served_versions(tmp_path / "serving/demo") == [1]


def test_65_an_old_version_is_removed_only_after_the_new_one_is_loaded(tmp_path):
    from tests.components.model_service import AVAILABLE, LOADING, model_service

    model_dir = three_versions(tmp_path)
    there = []

    def answer(_, question):
        there.append(served_versions(model_dir))
        return LOADING if question < 3 else AVAILABLE

    with model_service(answer) as (server, log):
        result = publish_marked(
            tmp_path, "four", server=server, server_timeout_s=30.0, keep_versions=2
        )
    assert f"loaded by {server}" in result.reason and result.removed == (1, 2)
    assert there == [[1, 2, 3, 4]] * 3 and set(log.asked) == {("demo", 4)}
    assert [bundle.version for bundle in list_versions(model_dir)] == [3, 4]


def test_65_a_version_that_labels_keep_from_being_served_is_not_waited_for(tmp_path):
    model_dir = three_versions(tmp_path)
    change(model_dir, lambda pins, found: promoted(pins, found, 2, "stable"))
    result = publish_marked(tmp_path, "four", server="127.0.0.1:1", server_timeout_s=0.6)
    assert result.pushed and "was not asked: stable decide" in result.reason
    assert served(model_dir).versions == (2,)


def test_62_a_server_loads_the_earlier_version_before_the_labels_move(tmp_path):
    from tests.components.model_service import AVAILABLE, LOADING, model_service

    model_dir = three_versions(tmp_path)
    change(model_dir, lambda pins, found: promoted(pins, found, 3, "stable"))
    there = []

    def answer(_, question):
        entry = configured(model_dir)
        there.append((list(entry.model_version_policy.specific.versions), read_pins(model_dir)))
        return LOADING if question < 3 else AVAILABLE

    with model_service(answer) as (server, log):
        now = roll_back(model_dir, None, [server], timeout_s=30.0)
    assert log.asked == [("demo", 2)] * 3
    during = {"stable": 3, STANDBY: 2}
    assert [(versions, pins.labels) for versions, pins in there] == [([2, 3], during)] * 3
    assert (now.versions, now.labels) == ((2,), {"stable": 2})


@pytest.mark.parametrize("labels", [{}, {"stable": 3}, {"stable": 2, "canary": 3}])
def test_62_where_a_server_does_not_load_it_nothing_is_rolled_back(tmp_path, labels):
    from tests.components.model_service import model_service

    model_dir = three_versions(tmp_path)
    for label, version in labels.items():
        change(model_dir, lambda p, found, v=version, n=label: promoted(p, found, v, n))
    before = snapshot(tmp_path / "serving")
    service = model_service(lambda *_: ("END", 2, "bad wolf"))
    with service as (server, _), pytest.raises(PushError, match="bad wolf"):
        roll_back(model_dir, 1, [server])
    after = snapshot(tmp_path / "serving")
    assert served(model_dir).labels == labels
    differing = {name for name in before | after if before.get(name) != after.get(name)}
    # The pins exist now, and say nothing, where there were none before.
    assert differing <= (set() if labels else {"demo/pins.json"})


def free_ports(count):
    """Ports that nobody uses now."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


def loads_answers_reloads_and_rolls_back(root, port, command):
    """Publishes beside a running server, which must follow and never see half a version."""
    from components.bundle.model_status import version_status, wait_until_available
    from serving.client import Client, UserRequest
    from tests.pipeline.published import publish

    server = f"127.0.0.1:{port}"
    model_dir = publish(root, content="one").parent
    process = subprocess.Popen(command)
    try:
        wait_until_available(server, "demo", 1, 60.0)
        with Client(server, model="demo") as client:
            request = UserRequest(1, history_item_id=["i1"], followed_topic=["even"])
            assert client.retrieve([request])[0].items
            half = model_dir / "7"
            shutil.copytree(model_dir / "1", half)
            (half / "saved_model.pb").unlink()
            publish(root, content="two")
            wait_until_available(server, "demo", 8, 60.0)
            assert client.retrieve([request])[0].version == 8
            assert version_status(server, "demo", 7).state != "AVAILABLE"
            roll_back(model_dir, 1, [server], timeout_s=60.0)
            deadline = time.monotonic() + 60.0
            while client.retrieve([request])[0].version != 1:
                assert time.monotonic() < deadline
                time.sleep(0.2)
    finally:
        process.terminate()
        process.wait(60)


def test_66_the_real_server_loads_answers_reloads_and_skips_half_a_version(tmp_path):
    binary = shutil.which("tensorflow_model_server")
    if binary is None:
        pytest.skip("no tensorflow_model_server on this machine: the real server was not asked")
    (port,) = free_ports(1)
    command = [
        binary,
        f"--port={port}",
        f"--model_config_file={tmp_path}/serving/models.config",
        "--model_config_file_poll_wait_seconds=1",
        "--file_system_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
    ]
    loads_answers_reloads_and_rolls_back(tmp_path, port, command)


@pytest.mark.slow
def test_66_the_local_server_passes_what_the_real_one_is_asked(tmp_path):
    port, rest = free_ports(2)
    place = ["--serving-dir", str(tmp_path / "serving"), "--name", "demo", "--poll-s", "0.2"]
    ports = ["--port", str(port), "--rest-port", str(rest)]
    command = [sys.executable, "-m", "pipeline", "serve", *place, *ports]
    loads_answers_reloads_and_rolls_back(tmp_path, port, command)
