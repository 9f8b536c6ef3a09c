"""The Dockerfiles, and the health check against a real HTTP server."""

import os
import re
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.deploy.deployment_files import DOCKER, SERVING, dockerfile, images

OWN = re.compile(r"tessera-tf-serving(-scann)?:\d+\.\d+\.\d+")
PINNED = re.compile(r"[\w./-]+:[\w.-]+@(sha256:[0-9a-f]{64}|\$\{\w+(:\?[^}]*)?\})")
NAMES = ("Dockerfile", "Dockerfile.scann")


def problems(instructions):
    """What is wrong with an image's recipe."""
    found, user, stages = [], None, []
    for word, rest in instructions:
        if word == "FROM":
            base = rest.split()[0]
            if not (PINNED.fullmatch(base) or OWN.fullmatch(base)):
                found.append(f"{base} has no digest")
            user = "1000" if OWN.fullmatch(base) else None
            stages += rest.split()[2:]
        elif word == "ADD":
            found.append("ADD")
        elif word == "USER":
            user = rest
        elif word == "COPY":
            sources = [part for part in rest.split()[:-1] if not part.startswith("--")]
            stage = re.search(r"--from=(\S+)", rest)
            if stage is None:
                found += [f"{s} is missing" for s in sources if not (SERVING / s).exists()]
            elif stage[1] not in (*stages, "patches"):
                found.append(f"no stage {stage[1]}")
        elif word == "RUN" and "curl" in rest and "sha256sum --check" not in rest:
            found.append("a download without its digest")
    if user is None or user.split(":")[0] in ("0", "root"):
        found.append("runs as root")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_images_are_pinned_and_run_as_nobody(name):
    assert problems(dockerfile(name)) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("@${TF_SERVING_DIGEST}", "", "has no digest"),
        ("USER 1000:1000", "USER root", "runs as root"),
        ("COPY --chmod", "ADD --chmod", "ADD"),
        ("docker/healthcheck.sh", "docker/health.sh", "is missing"),
    ],
)
def test_a_worse_image_is_found(old, new, problem):
    worse = [(f"{w} {r}".replace(old, new)).split(None, 1) for w, r in dockerfile("Dockerfile")]
    assert worse != [list(pair) for pair in dockerfile("Dockerfile")]
    assert any(problem in text for text in problems(worse))


def test_a_digest_must_be_given_where_none_is_known():
    for name in NAMES:
        for word, rest in dockerfile(name):
            assert word != "ARG" or "DIGEST" not in rest or "=" not in rest


def test_every_image_that_is_started_is_ours_or_the_servers_own():
    for image in images():
        known = OWN.fullmatch(image) or PINNED.fullmatch(image)
        assert known or image == "tensorflow/serving:2.16.1", image


@pytest.mark.parametrize("name", NAMES)
def test_hadolint_has_nothing_to_say(name):
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    result = subprocess.run([hadolint, DOCKER / name], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout
    worse = (DOCKER / name).read_text() + "\nRUN cd /tmp && sudo apt-get install curl\n"
    result = subprocess.run(
        [hadolint, "-"], input=worse, text=True, capture_output=True, timeout=300
    )
    assert result.returncode != 0


@contextmanager
def server(status):
    """Answers every request with a status; None: never answers."""
    asked, over = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if status is None:
                over.wait(20)
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield http.server_address[1], asked
    finally:
        over.set()
        http.shutdown()
        http.server_close()


def healthy(port, model="tessera"):
    environment = {
        "PATH": os.environ["PATH"],
        "REST_PORT": str(port),
        "MODEL_NAME": model,
        "HEALTHCHECK_TIMEOUT_S": "1",
    }
    script = [str(DOCKER / "healthcheck.sh")]
    return subprocess.run(script, env=environment, capture_output=True, timeout=300).returncode == 0


@pytest.mark.parametrize(("status", "expected"), [(200, True), (404, False), (503, False)])
def test_healthy_is_a_model_with_a_loaded_version(status, expected):
    with server(status) as (port, asked):
        assert healthy(port, "books") is expected
    assert asked == ["/v1/models/books/metadata"]


def test_a_server_that_is_silent_or_gone_is_not_healthy():
    with server(None) as (port, _):
        assert not healthy(port)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert not healthy(port)
