"""`tessera serve` as a process: what it prints, how it stops, what it refuses."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from serving.client import ServingClient, UserRequest
from serving.server.errors import Code, RequestError
from tests.serving import bundles
from tests.serving.conftest import until

MANY = [UserRequest(1000, ["a1", "a2"], followed_topic=["t1"])] * 100


class Process:
    """A server in another process."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pipeline", "serve", "--port", "0", "--rest-port", "0"]
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        )
        self.lines: list[str] = []
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("  page"):
                break
        printed = "".join(self.lines)
        assert "  page" in printed, printed
        self.grpc = re.search(r"gRPC +(\S+)", printed)[1]
        self.rest = re.search(r"REST +(http://[^/]+)", printed)[1]

    def stop(self, number: int) -> tuple[int, str]:
        """Sends a signal; returns the exit code and what was printed after it."""
        self.process.send_signal(number)
        try:
            rest, _ = self.process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # prints what each thread is at
            pytest.fail(f"does not stop: {self.process.communicate()[0]}")
        return self.process.returncode, rest


@pytest.fixture
def begin():
    started = []

    def make(*arguments: str) -> Process:
        started.append(Process(*arguments))
        return started[-1]

    yield make
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


def test_sigterm_lets_running_requests_end(store, model_dir, begin):
    bundles.place(store[1], model_dir)
    server = begin(
        "--serving-dir", str(model_dir.parent), "--name", bundles.NAME, "--grace-s", "120"
    )
    assert "model demo: version 1" in "".join(server.lines)
    with urllib.request.urlopen(f"{server.rest}/v1/models/demo") as status:
        assert b'"AVAILABLE"' in status.read()
    answered, errors = [], []

    def ask(address: str) -> None:
        with ServingClient(address, bundles.NAME, timeout_s=120.0, tries=1) as client:
            while True:
                try:
                    assert len(client.retrieve(MANY)) == len(MANY)
                    answered.append(time.monotonic())
                except RequestError as error:
                    errors.append((time.monotonic(), error.code, str(error)))
                    return

    threads = [
        threading.Thread(target=ask, args=(address,))
        for address in (server.grpc, server.grpc, server.rest)
    ]
    for thread in threads:
        thread.start()
    until(lambda: running(server) >= 2)
    stopped = time.monotonic()
    code, printed = server.stop(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert code == 0 and printed.endswith("stopped\n") and "Traceback" not in printed, printed
    assert max(answered) > stopped, "what ran was answered"
    assert {code for _, code, _ in errors} == {Code.UNAVAILABLE}, "what came later was refused"
    for address in (server.grpc, server.rest):
        with ServingClient(address, bundles.NAME, tries=1, timeout_s=300.0) as client:
            with pytest.raises(RequestError) as caught:
                client.status()
            assert caught.value.code is Code.UNAVAILABLE


def running(server: Process) -> float:
    """Requests that the server is answering."""
    with urllib.request.urlopen(f"{server.rest}/monitoring/prometheus/metrics") as answer:
        found = re.findall(r"^tessera_running_requests{.*} (\S+)$", answer.read().decode(), re.M)
    return sum(map(float, found))


def test_one_version_is_served_from_wherever_it_lies_until_ctrl_c(store, tmp_path, begin):
    copy = tmp_path / "a copy"
    shutil.copytree(store[2], copy)
    server = begin("--bundle", str(copy))
    with ServingClient(server.grpc, bundles.NAME, timeout_s=300.0) as client:
        [answer] = client.retrieve([UserRequest(5)])
        assert answer.version == 2
    with urllib.request.urlopen(f"{server.rest}/") as page:
        assert page.status == 200
    assert server.stop(signal.SIGINT)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "say what to serve"),
        (["--bundle", "{root}", "--name", "x"], 2, "give --bundle, or"),
        (["--bundle", "{root}/none"], 2, "no such folder"),
        (["--serving-dir", "{root}", "--name", "other"], 2, "nothing was published there"),
        (["--serving-dir", "{root}"], 2, "no published version here"),
    ],
)
def test_what_can_not_be_served_is_refused(tmp_path, arguments, code, text):
    from click.testing import CliRunner

    from cli.serve import serve
    from core.errors import TesseraError

    arguments = [each.format(root=tmp_path) for each in arguments]
    result = CliRunner().invoke(serve, arguments)
    if isinstance(result.exception, TesseraError):
        assert result.exception.exit_code == code and text in str(result.exception)
    else:
        assert result.exit_code == code and text in result.output


def test_a_configuration_says_where_the_model_is(store, tmp_path):
    from cli.serve import model_source

    demo = Path(__file__).resolve().parents[2] / "conf" / "demo.yaml"
    conf = tmp_path / "run.yaml"
    conf.write_text(f"extends: {demo}\nserving_dir: {store[1].parent.parent}\n")
    source = model_source(None, None, None, conf)
    assert source.name == bundles.NAME
    assert source.aspired().folders == {3: store[3]}


def test_a_damaged_bundle_ends_the_command_with_the_reason(store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(store[1], copy)
    os.truncate(copy / "saved_model.pb", 10)
    command = [sys.executable, "-m", "pipeline", "serve", "--bundle", str(copy)]
    run = subprocess.run(
        [*command, "--port", "0", "--rest-port", "0"], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 1
    assert "nothing to serve" in run.stderr and "saved_model.pb: 10 bytes" in run.stderr
    assert "Traceback" not in run.stderr
