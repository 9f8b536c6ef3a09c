"""Builds the image with Docker, where an engine answers and the package index can be reached."""

import shutil
import subprocess

import pytest

from deploy.image.size import BUDGET_MB
from tests.deploy.image.recipe import ROOT

#: Of the base image, uncompressed: about 130 MB, with room for its updates.
BASE_MB = 200
ENTRY = "kubeflow_pipelines.task.entrypoint"

pytestmark = [pytest.mark.slow("builds the image"), pytest.mark.timeout(3600)]


def docker(*words, timeout=120):
    return subprocess.run(
        ["docker", *words], cwd=ROOT, capture_output=True, text=True, timeout=timeout
    )


@pytest.fixture(scope="module")
def image():
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed: the image is not built here")
    answer = docker("info", "--format", "{{.ServerVersion}}")
    if answer.returncode != 0 or not answer.stdout.strip():
        pytest.skip("no Docker engine answers: the image is not built here")
    name = "tessera:test-of-the-image"
    done = subprocess.run(
        ["make", "image", f"IMAGE={name}"], cwd=ROOT, capture_output=True, text=True, timeout=3300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    yield name
    docker("image", "rm", "--force", name)


def test_the_built_image_starts_as_nobody(image):
    assert docker("run", "--rm", image, "--help").returncode == 0
    entry = docker("run", "--rm", "--entrypoint", "python", image, "-m", ENTRY)
    assert entry.returncode == 2 and "usage:" in entry.stderr
    for user in ("1000:0", "123456:0"):
        script = "id -u && touch ~/x /minio/x /s3/x /gcs/x && ! touch /opt/tessera/x"
        words = ("run", "--rm", "--user", user, "--entrypoint", "sh", image, "-ec", script)
        done = docker(*words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == user.split(":")[0]


def test_the_built_image_has_no_compiler_and_is_within_the_budget(image):
    script = "! command -v gcc g++ cc c++ clang make"
    done = docker("run", "--rm", "--entrypoint", "sh", image, "-c", script)
    assert done.returncode == 0, done.stdout
    size = int(docker("image", "inspect", "--format", "{{.Size}}", image).stdout)
    assert size < (BUDGET_MB + BASE_MB) * 1e6


def test_the_doctor_is_content_in_the_built_image(image):
    done = docker("run", "--rm", image, "doctor", "--json", timeout=600)
    assert '"packages"' in done.stdout and "as locked in requirements.txt" in done.stdout
    assert done.returncode == 0, done.stdout
