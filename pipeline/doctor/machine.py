"""Checks of the interpreter, the processor, memory and disk."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pipeline.doctor.check import Check, judge

_GLIBC = (2, 27)
_DISK_BYTES = 5e9
_MEMORY_BYTES = 4e9
_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_1 = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """TFX 1.16 and its locked packages exist for Python 3.10 alone."""
    return judge(
        "python",
        version[:2] == (3, 10),
        ".".join(map(str, version)),
        "use Python 3.10: make setup PYTHON=/path/to/python3.10",
    )


def system(
    name: str | None = None, machine: str | None = None, libc: tuple[str, str] | None = None
) -> Check:
    """The wheels of TFX and ScaNN are for Linux x86-64 with glibc."""
    name, machine = name or platform.system(), machine or platform.machine()
    kind, version = libc or platform.libc_ver()
    found = f"{name} {machine}, {kind or 'unknown libc'} {version}".strip()
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    good = name == "Linux" and machine == "x86_64" and kind == "glibc" and parts >= _GLIBC
    mend = "use Linux on x86-64 with glibc 2.27 or later (not Alpine, macOS or ARM); Docker will do"
    return judge("platform", good, found, mend)


def processor(cpuinfo: str | None = None) -> Check:
    """ScaNN's kernels need AVX2 and FMA."""
    if cpuinfo is None:
        path = Path("/proc/cpuinfo")
        if not path.exists():
            return Check("cpu", "skipped", "/proc/cpuinfo is not there")
        cpuinfo = path.read_text(errors="replace")
    lines = [line for line in cpuinfo.splitlines() if line.startswith("flags")]
    flags = set(lines[0].partition(":")[2].split()) if lines else set()
    missing = sorted({"avx2", "fma"} - flags)
    found = f"without {' and '.join(missing)}" if missing else f"avx2 and fma, {len(lines)} cores"
    return judge("cpu", not missing, found, "set index.kind: exact, or use a processor with AVX2")


def memory(available_bytes: float | None = None) -> Check:
    """Trains the demo in about 3 GB."""
    available = _available_memory() if available_bytes is None else available_bytes
    if available is None:
        return Check("memory", "skipped", "cannot be told here")
    found = f"{available / 1e9:.1f} GB free"
    return judge("memory", available >= _MEMORY_BYTES, found, "free at least 4 GB of memory")


def disk(work_dir: Path, free_bytes: float | None = None) -> Check:
    """Artifacts of a few runs need a few GB."""
    folder = nearest(work_dir)
    free = shutil.disk_usage(folder).free if free_bytes is None else free_bytes
    found = f"{free / 1e9:.1f} GB free at {folder}"
    mend = "free at least 5 GB, or choose another disk with --set work_dir=DIR"
    return judge("disk", free >= _DISK_BYTES, found, mend)


def writable(work_dir: Path) -> Check:
    """Runs write below the work directory."""
    folder = nearest(work_dir)
    mend = "choose another with --set work_dir=DIR, or mend its permissions"
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check("work_dir", "WRONG", f"{folder}: {error.strerror or error}", mend)
    return Check("work_dir", "ok", f"{folder} is writable")


def keras(environment: Mapping[str, str] | None = None) -> Check:
    """TensorFlow Recommenders works with Keras 2 only."""
    environment = os.environ if environment is None else environment
    value = environment.get("TF_USE_LEGACY_KERAS")
    found = f"TF_USE_LEGACY_KERAS={value}" if value is not None else "TF_USE_LEGACY_KERAS not set"
    return judge("keras", value == "1", found, "export TF_USE_LEGACY_KERAS=1")


def nearest(path: Path) -> Path:
    """Returns the path itself or its nearest parent that exists."""
    path = path.expanduser().resolve()
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _available_memory() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(float(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration, ValueError):
        return None
    for limit, used in (("memory.max", "memory.current"), _CGROUP_1):
        try:
            left = float((_CGROUP / limit).read_text()) - float((_CGROUP / used).read_text())
        except (OSError, ValueError):
            continue
        free = min(free, left)
    return free
