"""Checks of the installed packages: against the lock, and by importing them."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.doctor.check import Check

LOCK_NAME = "requirements.txt"
#: Module to import -> distribution that is named when it fails.
IMPORTS = {
    "tfx.v1": "tfx",
    "tensorflow_recommenders": "tensorflow-recommenders",
    "scann": "scann",
    "kfp": "kfp",
}
_MEND = "install the lock: make setup, or pip install -r requirements.txt"
_SHOWN = 5


def find_lock() -> Path | None:
    """Returns the lock of this checkout, else that of the current folder."""
    for folder in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (folder / LOCK_NAME).is_file():
            return folder / LOCK_NAME
    return None


def read_lock(path: Path) -> dict[str, str]:
    """Returns package -> version of the lines that hold on this machine."""
    from packaging.requirements import InvalidRequirement, Requirement

    locked = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.split(" #")[0].strip().rstrip("\\").strip()
        if not text or text.startswith(("#", "-")):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        exact = [s.version for s in requirement.specifier if s.operator == "=="]
        if exact and (requirement.marker is None or requirement.marker.evaluate()):
            locked[requirement.name] = exact[0]
    return locked


def installed_version(name: str) -> str | None:
    """Returns the version of an installed package, None when there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def lock(path: Path | None, version_of: Callable[[str], str | None] = installed_version) -> Check:
    """Every package has the version that the lock says."""
    if path is None:
        return Check("packages", "skipped", f"no {LOCK_NAME} here; give --lock FILE")
    if not path.is_file():
        return Check("packages", "WRONG", f"{path} not found", "give the right file with --lock")
    locked = read_lock(path)
    if not locked:
        return Check("packages", "WRONG", f"{path} locks nothing", "make lock")
    wrong = []
    for name, wanted in sorted(locked.items()):
        found = version_of(name)
        if found is None:
            wrong.append(f"{name} {wanted} is missing")
        elif not _same(found, wanted):
            wrong.append(f"{name} is {found}, locked {wanted}")
    if not wrong:
        return Check("packages", "ok", f"{len(locked)} as locked in {path.name}")
    rest = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    found = f"{len(wrong)} of {len(locked)} differ: {'; '.join(wrong[:_SHOWN])}{rest}"
    return Check("packages", "WRONG", found, _MEND)


def _same(found: str, wanted: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(found) == Version(wanted)
    except InvalidVersion:
        return found == wanted


def imports(timeout_s: float = 300.0) -> list[Check]:
    """Imports each of the big packages in a process of its own, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda module: import_one(module, timeout_s), IMPORTS))


def import_one(module: str, timeout_s: float) -> Check:
    """Imports one module in a fresh process."""
    distribution = IMPORTS.get(module, module)
    name = f"import {module.partition('.')[0]}"
    code = f"import importlib; importlib.import_module({module!r})"
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3"}
    mend = f"pip install the locked {distribution} (make setup)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return Check(
            name, "WRONG", f"not done after {timeout_s:g} s", "try again on an idle machine"
        )
    if done.returncode == 0:
        return Check(name, "ok", installed_version(distribution) or "imported")
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
    reason = lines[-1] if lines else f"exit code {done.returncode}"
    return Check(name, "WRONG", reason[:300], mend)
