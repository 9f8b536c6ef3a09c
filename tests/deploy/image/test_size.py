"""The size of the image, from the lock, and that run-time code needs nothing but the lock."""

import ast
import importlib.metadata
import sys

import pytest
from click.testing import CliRunner

from deploy.image import size as image_size
from deploy.image.trim import main as trim_main
from deploy.image.trim import trimmed_by
from pipeline.doctor.packages import read_lock
from tests.deploy.image.recipe import ROOT

LOCK = ROOT / "requirements.txt"
PACKAGES = (
    *("core", "input_tables", "trainer", "components", "serving", "pipeline"),
    *("kubeflow_pipelines", "research", "cli", "tessera"),
)


def say(*arguments):
    return CliRunner().invoke(image_size.main, arguments)


def test_the_image_is_within_its_budget():
    result = say()
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    sizes = [float(line.split()[0]) for line in lines]
    assert sizes[:10] == sorted(sizes[:10], reverse=True)
    kept = [s for s, line in zip(sizes, lines, strict=True) if s > 0 and "in all" not in line]
    assert lines[-1].endswith(f"in all, of {image_size.BUDGET_MB} MB")
    assert sum(kept) == pytest.approx(sizes[-1], abs=1)
    # Within 5 %: a budget that nothing could exceed would be none.
    assert sizes[-1] > 0.95 * image_size.BUDGET_MB


@pytest.fixture
def small(tmp_path):
    """A lock of two packages."""
    locked = read_lock(LOCK)
    path = tmp_path / "requirements.txt"
    path.write_text("".join(f"{name}=={locked[name]}\n" for name in ("numpy", "kfp")))
    return path


def test_above_the_budget_is_an_error_that_names_the_way_out(small, monkeypatch):
    assert say("--lock", str(small)).exit_code == 0
    monkeypatch.setattr(image_size, "BUDGET_MB", 50)
    result = say("--lock", str(small))
    assert result.exit_code == 1
    assert "above the budget" in result.output and "BUDGET_MB" in result.output


@pytest.mark.parametrize(
    ("line", "found"),
    [("numpy==0.1\n", "locked 0.1"), ("no-such-package==1.0\n", "no-such-package 1.0")],
)
def test_an_environment_that_is_not_as_locked_is_not_measured(small, line, found):
    small.write_text(small.read_text().replace(small.read_text().splitlines()[0], "") + line)
    result = say("--lock", str(small))
    assert result.exit_code == 2
    assert found in result.output and "make setup" in result.output


def test_packages_that_setup_py_installed_are_counted_too(small):
    sizes = image_size.measure(small, image_size.Path(sys.prefix))
    assert sizes.wrong == []
    assert sizes.kept["kfp"] > 1e6


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("numpy/core/include/numpy/arrayobject.h", "headers"),
        ("tensorflow/include/tsl/LICENSE", "headers"),
        ("clang/native/libclang.so", "libclang"),
        ("pandas/tests/test_x.py", "tests"),
        ("scipy/special/_ufuncs.pyx", "sources"),
        ("jinja2/tests.py", None),
        ("tensorflow/_api/v2/test/__init__.py", None),
        ("apache_beam/testing/util.py", None),
        ("tensorflow_model_analysis/notebook/jupyter/renderer.py", None),
        ("docutils/parsers/rst/include/isolat1.txt", None),
        ("numpy/__pycache__/version.cpython-310.pyc", None),
    ],
)
def test_only_what_no_run_needs_is_left_out(path, rule):
    assert trimmed_by(f"lib/python3.10/site-packages/{path}") == rule


def test_trimming_takes_files_and_folders_that_are_left_empty(tmp_path, capsys):
    assert trim_main([str(tmp_path)]) == 2
    site = tmp_path / "lib/python3.10/site-packages"
    for name in ("a/tests/test_a.py", "a/__init__.py", "a/a.h", "b/c/d.a"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text("x" * 10)
    (tmp_path / "pyvenv.cfg").touch()
    (tmp_path / "share/jupyter/lab").mkdir(parents=True)
    (tmp_path / "share/jupyter/lab/page.js").touch()
    assert trim_main([str(tmp_path)]) == 0
    assert [path.name for path in site.rglob("*")] == ["a", "__init__.py"]
    assert not (tmp_path / "share").exists()
    assert "headers" in capsys.readouterr().out


def provided():
    """Dotted names of all that the lock's distributions install."""
    names = set()
    for name in read_lock(LOCK):
        for path, _ in image_size.installed_files(importlib.metadata.distribution(name)):
            below = path.partition("/site-packages/")[2]
            if below.endswith((".py", ".so")):
                parts = below.split("/")
                parts[-1] = parts[-1].partition(".")[0]
                names.update(".".join(parts[:end]) for end in range(1, min(len(parts), 3) + 1))
    return names


def imports(path):
    """Absolute imports of a file, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def test_run_time_code_imports_nothing_that_only_developers_have():
    known = provided() | set(sys.stdlib_module_names) | set(PACKAGES) | {"schemas"}
    missing = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for name in imports(path):
                parts = name.split(".")
                wanted = ".".join(parts[: 2 if parts[0] == "google" else 1])
                if wanted not in known:
                    missing.setdefault(module, set()).add(parts[0])
    assert missing == {}
