"""Faults of choosing what is served."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from cli.promote import promote
from components.bundle import Pins, list_versions, read_pins, write_pins
from components.bundle.labels import change, promoted, rolled_back
from components.bundle.rollback import STANDBY, roll_back
from components.bundle.served import served
from core.errors import BundleError, PushError
from tests.components.bundle_fixtures import (
    served_versions,
    snapshot,
)
from tests.components.killed import killed_before
from tests.faults.publishing import MODES, configured, publish_marked, three_versions


@pytest.mark.fault(62)
def test_a_rollback_serves_a_smaller_number(tmp_path):
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


@pytest.mark.fault(62)
def test_killed_before_any_write_a_rollback_is_done_or_not_and_is_mended(quick_path):
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


@pytest.mark.fault(62)
def test_a_push_mends_a_configuration_that_was_left_behind(tmp_path):
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


@pytest.mark.fault(63)
def test_a_canary_that_is_not_published_or_damaged_is_refused(tmp_path):
    model_dir = three_versions(tmp_path)
    (model_dir / "2/items.parquet").write_bytes(b"other")
    before = snapshot(tmp_path / "serving")
    for version, why in ((9, "no version 9; published: 1, 2, 3"), (2, r"items\.parquet")):
        with pytest.raises(BundleError, match=why):
            call("--serving-dir", model_dir, version, "--label", "canary")
    assert snapshot(tmp_path / "serving") == before


@pytest.mark.fault(63)
@pytest.mark.parametrize(
    ("status", "why"),
    [
        (("LOADING", 0, ""), "LOADING"),
        (("END", 3, "out of memory"), "END: out of memory"),
        (None, "NOT_FOUND: Could not find version 3"),
    ],
)
def test_a_canary_that_the_server_has_not_loaded_is_refused(tmp_path, status, why):
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


@pytest.mark.fault(65)
@MODES
@pytest.mark.parametrize(
    ("status", "why"),
    [
        (("LOADING", 0, ""), r"within 0\.6 s .*its last word was LOADING"),
        (None, "NOT_FOUND: Could not find version 2"),
        (("END", 9, "Op type not registered"), "cannot serve version 2.*Op type not registered"),
    ],
)
def test_what_the_server_does_not_load_is_taken_away_again(tmp_path, publish, status, why):
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
    assert json.loads((model_dir / "last_version.json").read_text())["version"] == 2
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= {"demo/last_version.json", "demo/.push.lock", ".config.lock"}
    assert publish_marked(tmp_path, "two", publish=publish).version == 3


@pytest.mark.fault(65)
def test_a_server_that_does_not_answer_fails_the_push(tmp_path):
    publish_marked(tmp_path, "one")
    with pytest.raises(PushError, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
        publish_marked(tmp_path, "two", server="127.0.0.1:1", server_timeout_s=0.6)
    assert served_versions(tmp_path / "serving/demo") == [1]


@pytest.mark.fault(65)
def test_an_old_version_is_removed_only_after_the_new_one_is_loaded(tmp_path):
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


@pytest.mark.fault(65)
def test_a_version_that_labels_keep_from_being_served_is_not_waited_for(tmp_path):
    model_dir = three_versions(tmp_path)
    change(model_dir, lambda pins, found: promoted(pins, found, 2, "stable"))
    result = publish_marked(tmp_path, "four", server="127.0.0.1:1", server_timeout_s=0.6)
    assert result.pushed and "was not asked: stable decide" in result.reason
    assert served(model_dir).versions == (2,)


@pytest.mark.fault(62)
def test_a_server_loads_the_earlier_version_before_the_labels_move(tmp_path):
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


@pytest.mark.fault(62)
@pytest.mark.parametrize("labels", [{}, {"stable": 3}, {"stable": 2, "canary": 3}])
def test_where_a_server_does_not_load_it_nothing_is_rolled_back(tmp_path, labels):
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
    from serving.client import ServingClient, UserRequest
    from tests.research.published import publish

    server = f"127.0.0.1:{port}"
    model_dir = publish(root, content="one").parent
    process = subprocess.Popen(command)
    try:
        wait_until_available(server, "demo", 1, 60.0)
        with ServingClient(server, model="demo", timeout_s=300.0) as client:
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
            deadline = time.monotonic() + 300.0
            while client.retrieve([request])[0].version != 1:
                assert time.monotonic() < deadline
                time.sleep(0.2)
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.fault(66)
def test_the_real_server_loads_answers_reloads_and_skips_half_a_version(tmp_path):
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


@pytest.mark.fault(66)
@pytest.mark.slow("a server in a fresh process")
def test_the_local_server_passes_what_the_real_one_is_asked(tmp_path):
    port, rest = free_ports(2)
    place = ["--serving-dir", str(tmp_path / "serving"), "--name", "demo", "--poll-s", "0.2"]
    ports = ["--port", str(port), "--rest-port", str(rest)]
    command = [sys.executable, "-m", "pipeline", "serve", *place, *ports]
    loads_answers_reloads_and_rolls_back(tmp_path, port, command)
