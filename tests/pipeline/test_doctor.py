"""`tessera doctor`."""

import json

import pytest
from click.testing import CliRunner

from cli.doctor import doctor
from pipeline.doctor import machine, packages

CPU = "processor\t: 0\nflags\t\t: fpu sse4_2 avx avx2 fma\n"


def test_another_python_is_wrong_and_the_mend_is_said():
    assert machine.python((3, 10, 13)).status == "ok"
    check = machine.python((3, 11, 2))
    assert check.status == "WRONG" and "3.10" in check.mend


@pytest.mark.parametrize(
    ("name", "cpu", "libc", "status"),
    [
        ("Linux", "x86_64", ("glibc", "2.36"), "ok"),
        ("Linux", "x86_64", ("glibc", "2.17"), "WRONG"),
        ("Linux", "x86_64", ("", ""), "WRONG"),  # musl
        ("Linux", "aarch64", ("glibc", "2.36"), "WRONG"),
        ("Darwin", "x86_64", ("", ""), "WRONG"),
    ],
)
def test_only_linux_x86_64_with_glibc_will_do(name, cpu, libc, status):
    assert machine.system(name, cpu, libc).status == status


@pytest.mark.fault(53)
def test_a_processor_without_avx2_is_told_what_to_do():
    assert machine.processor(CPU).status == "ok"
    check = machine.processor(CPU.replace("avx2", ""))
    assert check.status == "WRONG" and "avx2" in check.found and "index.kind" in check.mend


def test_little_memory_and_little_disk_are_wrong(tmp_path):
    assert machine.memory(1e9).status == "WRONG" and machine.memory(8e9).status == "ok"
    assert machine.disk(tmp_path / "new/folder", 1e9).status == "WRONG"
    assert machine.disk(tmp_path / "new/folder", 9e9).status == "ok"


def test_a_work_dir_need_not_exist_but_must_be_writable(tmp_path, monkeypatch):
    assert machine.writable(tmp_path / "a/b").status == "ok"
    assert list(tmp_path.iterdir()) == []

    def refused(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refused)
    assert "Permission denied" in machine.writable(tmp_path).found


@pytest.mark.parametrize(("value", "status"), [("1", "ok"), ("0", "WRONG"), (None, "WRONG")])
def test_keras_2_must_be_asked_for(value, status):
    environment = {} if value is None else {"TF_USE_LEGACY_KERAS": value}
    assert machine.keras(environment).status == status


LOCK = """\
# by uv
absl-py==1.4.0 \\
    --hash=sha256:00
    # via tfx
colorama==0.4.6 ; sys_platform == "win32"
ml-dtypes==0.3.2
"""


@pytest.mark.fault(79)
def test_packages_that_differ_from_the_lock_are_named(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(LOCK)
    assert packages.read_lock(path) == {"absl-py": "1.4.0", "ml-dtypes": "0.3.2"}
    assert packages.lock(path, {"absl-py": "1.4.0", "ml-dtypes": "0.3.2"}.get).status == "ok"
    check = packages.lock(path, {"absl-py": "2.0"}.get)
    assert check.status == "WRONG" and "make setup" in check.mend
    assert "absl-py is 2.0, locked 1.4.0" in check.found
    assert "ml-dtypes 0.3.2 is missing" in check.found


def test_a_missing_lock_is_not_called_right():
    assert packages.lock(None).status == "skipped"


def test_an_import_that_fails_shows_its_last_line():
    check = packages.import_one("no_such_module", 60)
    assert check.status == "WRONG" and "No module named 'no_such_module'" in check.found
    assert packages.import_one("json", 60).status == "ok"


@pytest.mark.fault(53, 79)
def test_every_check_is_one_line_and_wrong_ones_decide_the_exit_code(tmp_path):
    lock = tmp_path / "requirements.txt"
    lock.write_text("no-such-package==1.0\n")
    words = ["--no-imports", "--lock", str(lock), "--work-dir", str(tmp_path)]
    result = CliRunner().invoke(doctor, words)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert len(lines) == 8
    assert all(line.split()[0] in ("ok", "WRONG", "skipped") for line in lines)
    assert "no-such-package" in next(line for line in lines if line.startswith("WRONG"))
    document = json.loads(CliRunner().invoke(doctor, [*words, "--json"]).stdout)
    assert document["healthy"] is False
    assert [c["name"] for c in document["checks"]][:3] == ["python", "platform", "cpu"]


def test_the_machine_of_the_tests_agrees_with_the_projects_lock():
    lock = packages.find_lock()
    if lock is None:
        pytest.skip("no lock beside the sources")
    assert packages.lock(lock).status == "ok", packages.lock(lock).found
