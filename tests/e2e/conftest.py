"""Small generated tables and a way to call the command line as a user does."""

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)


@functools.cache
def without_network():
    """Words before a command that take its network away; none where that is not allowed."""
    words = ("unshare", "--net", "--map-root-user")
    try:
        allowed = subprocess.run([*words, "true"], capture_output=True, check=False)
    except OSError:
        return ()
    return words if allowed.returncode == 0 else ()


def tessera(*arguments, env=None, timeout=600, before=()):
    """Runs the command line in a fresh process, after the words `before`."""
    done = subprocess.run(
        [*before, sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def write_config(path, root, work_dir, **overrides):
    """Writes a configuration small enough for tests."""
    tree = {
        "name": "e2e",
        "work_dir": str(work_dir),
        "serving_dir": str(work_dir / "serving"),
        "data": {"root": str(root)},
        "examples": {
            "split": {"strategy": "time", "eval_days": 3, "validation_days": 2},
            "negative_actions": ["hide"],
        },
        "transform": {"history_max_items": 20},
        "model": {"embedding_dim": 16, "hidden_units": [32], "num_interests": 3},
        "trainer": {"epochs": 2, "batch_size": 128, "uniform_negatives": 128},
        "evaluator": {"thresholds": {"recall@100": {"min": 0.001}}, "must_beat_floors": []},
        "gate": {"min_eval_examples": 5},
    }
    for key, value in overrides.items():
        tree[key] = {**tree.get(key, {}), **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """A few thousand generated engagements."""
    root = tmp_path_factory.mktemp("generated") / "tables"
    done = tessera(
        "data", "generate", "--out", root, "--users", 300, "--items", 400,
        "--topics", 16, "--days", 20, "--seed", 3,
    )  # fmt: skip
    assert done.code == 0, done.err
    return root
