"""The Dockerfile's stages, user, digests and context, without building it."""

import re
import shlex
import subprocess
from importlib import metadata

import pytest
import yaml

from deploy.image import size as image_size
from kubeflow_pipelines.compile.lint import ENTRYPOINT
from kubeflow_pipelines.replay.run import DEFAULT_ROOT
from kubeflow_pipelines.task.uris import FOLDERS
from pipeline.doctor.packages import read_lock
from tests.deploy.image.recipe import ROOT, context, copied, read, shell, stages

TEXT = (ROOT / "Dockerfile").read_text()
PINNED = re.compile(r"python:3\.10\.\d+-(slim-)?bookworm")
#: What would bring compilers, caches or packages that no lock names.
INSTALLERS = re.compile(r"\b(apt|apt-get|dpkg|pip|uv|conda|curl|wget|npm|gcc|make)\b")
SETUP = (ROOT / "setup.py").read_text()


def problems(text):
    """What is wrong with a recipe of the image."""
    found = []
    arguments, parts = stages(text)
    if len(parts) != 2 or [part.base for part in parts] != ["${BUILD_BASE}", "${BASE}"]:
        return ["not two stages, on ${BUILD_BASE} and ${BASE}"]
    build, final = parts
    for name, base in arguments.items():
        if not PINNED.fullmatch(base):
            found.append(f"{name} is {base}, which names no Python 3.10.x on Debian 12")
    if arguments["BASE"] != arguments["BUILD_BASE"].replace("-bookworm", "-slim-bookworm"):
        found.append("the stages differ in more than being slim")
    for stage in parts:
        found += ["ADD takes what no lock names" for _ in stage.rests("ADD")]
        for paths, _ in copied(stage):
            found += [f"{path} is missing" for path in paths if not (ROOT / path).exists()]
    for command in shell(build):
        if "pip install" not in command:
            continue
        if "--no-deps" not in command:
            found.append(f"{command}: takes packages that the lock does not name")
        if "-r " in command and "--require-hashes" not in command:
            found.append(f"{command}: digests are not checked")
        if "build-tools" not in command and "--no-build-isolation" not in command:
            found.append(f"{command}: fetches build tools without digests")
    for command in shell(final):
        if INSTALLERS.search(command):
            found.append(f"the last stage runs {command}")
    if copied(final, "build") != [(["/opt/tessera"], "/opt/tessera")]:
        found.append("more or less than /opt/tessera comes from the build stage")
    if not re.fullmatch(r"[1-9]\d*(:\d+)?", (final.rests("USER") or ["root"])[-1]):
        found.append("USER is root, or a name that Kubernetes cannot tell from root")
    words = [word for word, _ in final.steps]
    if "USER" in words and set(words[words.index("USER") :]) & {"RUN", "COPY"}:
        found.append("files are made by the user that only runs them")
    return found


def test_the_image_is_slim_locked_and_runs_as_nobody():
    assert problems(TEXT) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("FROM ${BASE}", "FROM ${BUILD_BASE}", "not two stages"),
        ("BASE=python:3.10.19-slim-bookworm", "BASE=python:slim", "names no Python"),
        ("BASE=python:3.10.19-slim", "BASE=python:3.10.18-slim", "stages differ"),
        (" --require-hashes", "", "digests are not checked"),
        ("-deps --no-build-isolation -r", "-deps -r", "without digests"),
        ("pip install --no-deps", "pip install", "does not name"),
        ("RUN useradd", "RUN apt-get install g++ && useradd", "the last stage runs"),
        ("RUN useradd", "RUN pip install x && useradd", "the last stage runs"),
        ("build /opt/tessera /opt/tessera", "build / /", "more or less than"),
        ("USER 1000:0\n", "", "USER is root"),
        ("USER 1000:0", "USER tessera", "USER is root"),
        ("USER 1000:0", "USER 0", "USER is root"),
        ("USER 1000:0", "USER 1000:0\nRUN touch x", "made by the user"),
        ("COPY core", "ADD core", "ADD"),
        ("COPY core ", "COPY kernel ", "kernel is missing"),
    ],
)
def test_a_worse_image_is_found(old, new, problem):
    worse = TEXT.replace(old, new)
    assert worse != TEXT
    assert any(problem in text for text in problems(worse))


def test_the_environment_is_what_tasks_get_on_kubeflow_too():
    from kubeflow_pipelines.compile import finalize

    environment = read()[1][1].environment()
    assert finalize._ENVIRONMENT.items() <= environment.items()
    assert environment["PATH"].split(":") == ["/opt/tessera/bin", "$PATH"]
    assert environment["HOME"] == "/home/tessera"


def test_the_command_line_is_the_entry_point_and_kubeflow_replaces_it():
    final = read()[1][1]
    assert yaml.safe_load(final.rests("ENTRYPOINT")[-1]) == ["tessera"]
    assert "tessera = cli.main:main" in SETUP
    # `python` is looked up on PATH, where the packages' own comes first.
    assert ENTRYPOINT[0] == "python"


def test_the_user_can_write_where_the_launcher_and_runs_do():
    final = read()[1][1]
    (command,) = [c for c in shell(final) if c.startswith("install ")]
    words = shlex.split(command)
    folders = {word for word in words if word.startswith("/")}
    assert {f"/{folder}" for folder in FOLDERS.values()} | set(final.rests("WORKDIR")) == folders
    user, group = final.rests("USER")[-1].split(":")
    assert words[words.index("-o") + 1 :][0] == user
    assert words[words.index("-g") + 1 :][0] == group == "0"
    assert words[words.index("-m") + 1 :][0] == "0775"
    assert DEFAULT_ROOT.partition("://")[0] in FOLDERS


def test_labels_say_version_revision_and_base():
    (rest,) = read()[1][1].rests("LABEL")
    labels = dict(pair.split("=", 1) for pair in shlex.split(rest))
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}version"] == re.search(r'version="([^"]+)"', SETUP)[1]
    assert labels[f"{prefix}revision"] == "${REVISION}"
    assert labels[f"{prefix}base.name"] == "${BASE}"
    assert {"ARG", "LABEL"} <= {word for word, _ in read()[1][1].steps}


def test_every_package_of_the_project_and_what_it_reads_is_copied():
    build, final = read()[1]
    sources = {path for paths, _ in copied(build) for path in paths}
    packages = set(re.findall(r'"(\w+)"', re.search(r"PACKAGES = \((.*?)\)", SETUP, re.DOTALL)[1]))
    assert packages | {"setup.py", "pyproject.toml", "requirements.txt"} <= sources
    kept = {path for paths, _ in copied(final) for path in paths}
    assert kept == {"conf", "requirements.txt"}
    assert set(image_size.PROJECT) == packages | kept


def test_build_tools_come_from_the_lock(tmp_path):
    import subprocess

    command = next(c for c in shell(read()[1][0]) if c.startswith("sed "))
    (tmp_path / "requirements.txt").write_text((ROOT / "requirements.txt").read_text())
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True)
    tools = read_lock(tmp_path / "build-tools.txt")
    locked = read_lock(ROOT / "requirements.txt")
    assert tools == {name: locked[name] for name in ("setuptools", "wheel")}
    text = (tmp_path / "build-tools.txt").read_text()
    assert all("--hash=sha256:" in part for part in re.split(r"\n(?=\w)", text))


def test_the_lock_has_a_digest_for_every_package():
    text = (ROOT / "requirements.txt").read_text()
    packages = re.split(r"\n(?=[A-Za-z])", text)[1:]
    assert len(packages) > 250
    assert [p.split()[0] for p in packages if "--hash=sha256:" not in p] == []


def test_the_context_is_small_and_holds_all_that_is_copied():
    files = list(context())
    tops = {file.parts[0] for file in files}
    assert tops.isdisjoint({".git", ".venv", "runs", "data", "tests", "docs", "benchmarks"})
    assert not [file for file in files if file.suffix == ".pyc" or "__pycache__" in file.parts]
    assert sum((ROOT / file).stat().st_size for file in files) < 10e6
    for stage in read()[1]:
        for paths, _ in copied(stage):
            for path in paths:
                assert any(str(f) == path or str(f).startswith(f"{path}/") for f in files), path


def test_make_builds_it_with_the_bases_and_the_revision():
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^image:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    for argument in ("BASE", "BUILD_BASE", "REVISION"):
        assert f"--build-arg {argument}=" in recipe
    assert "-t $(IMAGE)" in recipe
    assert "deploy.image.size" in re.search(r"^image-size:.*\n((?:\t.*\n)+)", makefile, re.M)[1]


def test_the_cuda_variant_is_locked_and_is_what_tensorflow_names():
    """TensorFlow says itself which libraries it was built for."""
    asked = [line for line in metadata.requires("tensorflow") if "and-cuda" in line]
    named = {re.sub(r"[ ();].*", "", line): line.split("==")[1].split()[0] for line in asked}
    locked = read_lock(ROOT / "requirements-cuda.txt")
    assert {name: version.strip("; )") for name, version in named.items()} == dict(locked)
    text = (ROOT / "requirements-cuda.txt").read_text()
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) == len(locked)
    (command,) = [line for line in shell(stages(TEXT)[1][0]) if "requirements-cuda" in line]
    for variant, code in (("cpu", 0), ("gpu", 2)):
        script = command.replace("${VARIANT}", variant)
        done = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
        assert done.returncode == code
    assert "VARIANT=$(VARIANT)" in (ROOT / "Makefile").read_text()
