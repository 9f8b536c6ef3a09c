"""Runs the probe on a copy of a SavedModel, in a fresh process in a folder of its own."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from components.serving_validator import probe
from core.errors import BundleError

#: What must not be importable where a bundle is served: this project, and ScaNN's Python.
FORBIDDEN = (
    "benchmarks",
    "cli",
    "components",
    "core",
    "deploy",
    "input_tables",
    "kubeflow_pipelines",
    "pipeline",
    "research",
    "scann",
    "schemas",
    "serving",
    "tessera",
    "tests",
    "trainer",
)
_SHOWN_LINES = 8
_SHOWN_CHARACTERS = 300


class ProbeError(BundleError):
    """The probe ended without findings: it could not load, crashed or hung."""


def scann_library() -> Path:
    """Returns the shared library with ScaNN's TensorFlow operations.

    Raises:
      BundleError: ScaNN is not installed.
    """
    spec = find_spec("scann")
    library = (
        Path(spec.origin).parent / "scann_ops/cc/_scann_ops.so" if spec and spec.origin else None
    )
    if library is None or not library.is_file():
        raise BundleError("ScaNN's operations are not installed: pip install scann")
    return library


def run_probe(
    saved_model: Path,
    warmup: Path,
    plan: Mapping[str, Any],
    scann: bool,
    timeout_s: float,
) -> dict[str, Any]:
    """Copies a SavedModel elsewhere and lets a fresh process answer the plan's requests.

    The process gets no `PYTHON*` variable, runs isolated (`python -I`) in a temporary
    folder that is removed afterwards, and can import neither the project nor `scann`.

    Args:
      saved_model: folder of the SavedModel, copied, never linked.
      warmup: file of warm-up requests, put into the copy.
      plan: `cases`, `timed` and `timed_signature` of `probe.run`.
      scann: whether the model needs ScaNN's operations; their library is copied too.
      timeout_s: for the whole process.

    Returns:
      The findings of `probe.run`.

    Raises:
      ProbeError: the process ended without findings; says how and its last words.
      BundleError: ScaNN's operations are wanted but not installed.
    """
    with tempfile.TemporaryDirectory(prefix="tessera-serving-") as folder:
        work = Path(folder)
        script = shutil.copy(probe.__file__, work / "probe.py")
        copy = work / "model"
        shutil.copytree(saved_model, copy)
        (copy / "assets.extra").mkdir(exist_ok=True)
        served_warmup = shutil.copy(warmup, copy / "assets.extra" / warmup.name)
        library = str(shutil.copy(scann_library(), work)) if scann else ""
        complete = {
            **plan,
            "model": str(copy),
            "library": library,
            "warmup": str(served_warmup),
            "forbidden": FORBIDDEN,
        }
        (work / "plan.pickle").write_bytes(pickle.dumps(complete))
        _run([sys.executable, "-I", str(script), "plan.pickle", "findings.pickle"], work, timeout_s)
        findings: dict[str, Any] = pickle.loads((work / "findings.pickle").read_bytes())
        return findings


def _run(command: list[str], work: Path, timeout_s: float) -> None:
    try:
        ended = subprocess.run(
            command,
            cwd=work,
            env=_environment(),
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProbeError(
            f"no answer within {timeout_s:g} s (serving.timeout_s); {_last_words(error.stderr)}"
        ) from None
    if ended.returncode < 0:
        name = signal.Signals(-ended.returncode).name
        raise ProbeError(f"the process was ended by {name}; {_last_words(ended.stderr)}")
    if ended.returncode or not (work / "findings.pickle").exists():
        raise ProbeError(_last_words(ended.stderr))


def _environment() -> dict[str, str]:
    """Returns this process's environment without what could lead to the project."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    kept.pop("TF_USE_LEGACY_KERAS", None)
    return {**kept, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}


def _last_words(stderr: bytes | None) -> str:
    lines = [line.strip() for line in (stderr or b"").decode(errors="replace").splitlines()]
    shown = [line[:_SHOWN_CHARACTERS] for line in lines if line][-_SHOWN_LINES:]
    return "its last words: " + (" | ".join(shown) or "none")
