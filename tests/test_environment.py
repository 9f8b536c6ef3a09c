"""`make` finds Python 3.10, or lets uv fetch it, or says where to get it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASE = Path(sys.base_prefix) / "bin" / "python3.10"
TOOLS = ("bash", "cat", "chmod", "cut", "dirname", "ln", "mkdir", "realpath", "rm")


@pytest.fixture
def machine(tmp_path):
    """A machine with the usual tools and the programs that `add` puts there."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))

    class Machine:
        venv = tmp_path / "venv"

        def add(self, name, script):
            (programs / name).write_text(f"#!/bin/bash\n{script}\n")
            (programs / name).chmod(0o755)

        def set_up(self, *python):
            return subprocess.run(
                ["bash", ROOT / "scripts/environment.sh", self.venv, *python],
                env={"PATH": str(programs), "HOME": os.environ["HOME"]},
                capture_output=True,
                text=True,
                check=False,
            )

    return Machine()


def version_of(venv):
    code = "import sys; print(sys.version_info[:2])"
    return subprocess.run([venv / "bin/python", "-c", code], capture_output=True, text=True).stdout


def test_the_machines_own_python_is_taken(machine):
    machine.add("python3.10", "[[ $1 == -c ]] && echo 3.10 || mkdir $3")
    done = machine.set_up()
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.venv.is_dir()


def test_without_it_uv_is_asked_for_it_and_that_is_said(machine):
    machine.add(
        "uv",
        f'echo "$@" > {machine.venv}.words; folder=${{@: -1}}/bin; mkdir -p $folder\n'
        f'echo "echo Python 3.10.9" > $folder/python; chmod +x $folder/python',
    )
    done = machine.set_up()
    assert done.returncode == 0, done.stderr
    assert "no usable Python 3.10: uv sets one up beside" in done.stderr
    assert f"Python 3.10.9 is in {machine.venv}" in done.stderr
    words = Path(f"{machine.venv}.words").read_text().split()
    assert words == ["venv", "--quiet", "--python", "3.10", str(machine.venv)]


def test_uv_makes_the_environment_where_the_machines_python_cannot(machine):
    """The installed uv, with a Python that lacks `venv`, as on Debian without python3-venv."""
    machine.add("python3.10", f'[[ $1 == -m ]] && exit 1; exec {BASE} "$@"')
    machine.add("uv", f'exec {Path(sys.executable).with_name("uv")} "$@"')
    done = machine.set_up()
    assert done.returncode == 0, done.stderr
    assert version_of(machine.venv) == "(3, 10)\n"
    assert subprocess.run([machine.venv / "bin/pip", "--version"], check=False).returncode == 0


def test_where_uv_fails_one_message_names_the_ways_and_nothing_is_left(machine):
    machine.add("uv", "echo no route to host >&2; mkdir -p ${@: -1}; exit 1")
    done = machine.set_up()
    assert done.returncode == 2
    assert "no route to host" in done.stderr
    for way in (
        "uv python install 3.10",
        "conda create",
        "pyenv",
        "make PYTHON=/path/to/python3.10",
    ):
        assert way in done.stderr
    assert not machine.venv.exists()


def test_without_uv_pip_installs_it_beside_the_environment(machine):
    machine.add(
        "python3",
        'shift 2; [[ $1 == install ]] || exit 1; folder="${@: -2:1}/bin"; mkdir -p $folder\n'
        'echo "exit 9" > $folder/uv; chmod +x $folder/uv',
    )
    done = machine.set_up()
    assert done.returncode == 2 and "uv could not fetch one" in done.stderr
    assert not Path(f"{machine.venv}-uv").exists()


def test_another_python_is_refused_by_name(machine):
    machine.add("python3.12", "echo 3.12")
    done = machine.set_up("python3.12")
    assert done.returncode == 2
    assert done.stderr.startswith("python3.12 is not Python 3.10, which Tessera needs")
