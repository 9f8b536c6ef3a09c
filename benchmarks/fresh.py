"""A step of a benchmark in a process of its own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONWARNINGS": "ignore",
    "CUDA_VISIBLE_DEVICES": "",
}


def fresh(command: Sequence[str], cwd: Path = ROOT) -> dict[str, Any]:
    """Runs a command in a new process and reads the JSON of its last line."""
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode or not done.stdout.strip():
        raise SystemExit(f"{shlex.join(command)} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))
