"""The Dockerfile's steps, carried out in a fresh prefix, and what a compiled pipeline calls there.

Neither the repository nor the development packages can be reached from inside.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.image.size import BUDGET_MB, measure
from deploy.image.trim import trimmed_by
from pipeline.doctor.packages import read_lock
from tests.deploy.image.prefix import image
from tests.deploy.image.recipe import ROOT

pytestmark = [
    pytest.mark.slow("every step of the Dockerfile, once, in a prefix"),
    pytest.mark.nightly,
]

LOCK = ROOT / "requirements.txt"
DIGEST = f"registry.example/tessera@sha256:{'0' * 64}"
#: What the doctor may find wrong with a machine that is too small for runs.
MACHINE = {"cpu", "memory", "disk"}


def listed(container):
    """Path below the packages' prefix -> size."""
    prefix = str(container.root / "opt/tessera")
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(prefix) for name in names]
    return {path.removeprefix(f"{prefix}/"): os.lstat(path).st_size for path in paths}


@pytest.fixture(scope="module")
def compiling(tmp_path_factory):
    """A pipeline being compiled by this checkout, while the image is made."""
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    code = (
        "import sys; from pipeline import environment; environment.prepare();"
        "from pipeline.config import load_config;"
        "from kubeflow_pipelines.compile.compiler import compile_pipeline;"
        "from kubeflow_pipelines.compile.document import dump;"
        "spec = compile_pipeline(load_config('conf/kubeflow.yaml'));"
        "open(sys.argv[1], 'w').write(dump(spec))"
    )
    environment = {**os.environ, "TESSERA_IMAGE": DIGEST}
    process = subprocess.Popen([sys.executable, "-c", code, path], cwd=ROOT, env=environment)
    yield process, path
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def container(tmp_path_factory, compiling):
    folder = tmp_path_factory.mktemp("image")
    yield image(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def compiled(compiling, container):
    process, path = compiling
    assert process.wait(120) == 0
    return path


@pytest.fixture(scope="module")
def files(container):
    """What `listed` finds before anything has run."""
    return listed(container)


@pytest.fixture(scope="module")
def probed(container, compiled, files):
    probe = (Path(__file__).parent / "probe.py").read_text()
    done = container.run("python", "-", str(compiled), input=probe)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_path_that_a_compiled_pipeline_names_is_in_the_image(probed, compiled):
    assert probed["failed"] == []
    named = probed["named"]
    assert named["module"] == ["kubeflow_pipelines.task.entrypoint"]
    assert {"trainer.run_fn.run_fn", "trainer.preprocessing.preprocessing_fn"} == set(
        named["function"]
    )
    assert len(named["class"]) == compiled.read_text().count("--executor_class_path") > 10
    assert {"components.Bundle", "tfx.Examples", "tfx.Model"} <= set(named["type"])


def test_every_module_of_the_project_runs_on_the_run_time_lock_alone(probed, container):
    assert len(probed["imported"]) > 150
    prefix = str((container.root / "opt/tessera").resolve())
    strays = [f for f in probed["imported"] if f and not str(Path(f).resolve()).startswith(prefix)]
    assert strays == []


def test_only_the_lock_and_the_project_are_installed(container):
    (site,) = (container.root / "opt/tessera").glob("lib/python3.*/site-packages")
    found = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions(path=[site])}
    names = {name.lower().replace("_", "-").replace(".", "-") for name in found}
    locked = {n.lower().replace("_", "-").replace(".", "-") for n in read_lock(LOCK)}
    assert names - locked == {"tessera-retrieval"}
    assert locked - names == set()


def test_nothing_for_compiling_is_left(files):
    assert [path for path in files if trimmed_by(path) is not None] == []
    programs = {os.path.basename(path) for path in files if path.startswith("bin/")}
    assert {"python", "tessera"} <= programs
    assert programs.isdisjoint({"pip", "pip3", "gcc", "cc", "clang"})


def test_the_size_is_what_the_lock_says(files):
    counted = measure(LOCK, Path(sys.prefix)).kept.total()
    assert sum(files.values()) == pytest.approx(counted, rel=0.01)
    assert sum(files.values()) < BUDGET_MB * 1e6


def test_the_command_line_and_the_entry_point_start(container, files):
    done = container.run("tessera", "--help")
    assert done.returncode == 0 and "run" in done.stdout, done.stderr
    done = container.run("python", "-m", "kubeflow_pipelines.task.entrypoint")
    assert done.returncode == 2, done.stderr
    assert "usage: python -m kubeflow_pipelines.task.entrypoint" in done.stderr
    worker_pool = "apache_beam.runners.worker.worker_pool_main"
    done = container.run("python", "-m", worker_pool, "--help")
    assert done.returncode == 0 and "--service_port" in done.stdout, done.stderr


def test_the_doctor_finds_the_lock_in_the_image(container, files):
    done = container.run("tessera", "doctor", "--no-imports", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert {name for name, c in checks.items() if c["status"] == "WRONG"} <= MACHINE, checks
    assert checks["packages"]["found"] == f"{len(read_lock(LOCK))} as locked in requirements.txt"
    assert checks["keras"]["status"] == checks["work_dir"]["status"] == "ok"


def test_the_configurations_are_where_runs_start(container):
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert (container.folder / path.relative_to(ROOT)).is_file(), path
    for folder in ("gcs", "minio", "oci", "s3", "home/tessera"):
        assert (container.root / folder).stat().st_mode & 0o777 == 0o775


def test_nothing_writes_below_the_packages(container, files, probed):
    # Compiled modules may come: the image has them all, and its user cannot write there.
    now = {path for path in listed(container) if "__pycache__" not in path}
    assert now == {path for path in files if "__pycache__" not in path}
