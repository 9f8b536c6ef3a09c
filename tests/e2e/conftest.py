"""Small tables, one bundle trained from them, and the command line as a user calls it."""

import datetime as dt
import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests import forkserver
from tests.shared import once

REPOSITORY = Path(__file__).resolve().parents[2]
LAST_DAY = dt.date(2024, 3, 31)
FIRST_DAY = LAST_DAY - dt.timedelta(days=2)
#: Of a scheduled run; the tables of `tables` have twelve days.
WINDOW = {"layout": "auto", "window_days": 9}
DAILY = {
    "examples": {
        "split": {"strategy": "time", "eval_days": 2, "validation_days": 1},
        "negative_actions": ["hide"],
    },
    # What `tessera init` sets as well, for smaller tables.
    "model": {"item_min_targets": 2},
    "trainer": {"refit": True},
    "retrieval": {"neighbours": "ease"},
    "evaluator": {
        "thresholds": {"recall@100": {"min": 0.001}},
        "must_beat_floors": [],
        "max_drop_share": 1.0,
        "max_slice_drop_share": 1.0,
    },
}


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


def tessera(*arguments, env=None, timeout=1500, before=(), fresh=False):
    """Runs the command line in a process of its own.

    Args:
      arguments: of the command line.
      env: variables beside those of this process.
      timeout: in seconds.
      before: words before the command, such as `unshare`.
      fresh: start Python anew, as a user does, instead of forking a process that has imported
        TFX and TensorFlow.
    """
    python = sys.executable if fresh else forkserver.interpreter()
    done = subprocess.run(
        [*before, python, "-m", "cli", *map(str, arguments)],
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
        # Of a busy machine nothing is asked.
        "serving": {
            "requests": 8,
            "latency_requests": 5,
            "warmup_requests": 2,
            "latency_budget_ms": 60_000,
        },
    }
    for key, value in overrides.items():
        tree[key] = {**tree.get(key, {}), **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="session")
def tables():
    """Twelve days of a few hundred generated engagements each, a folder per day."""

    def generate(folder):
        done = tessera(
            "data", "generate", "--out", folder / "tables", "--users", 250, "--items", 300,
            "--topics", 12, "--days", 12, "--engagements", 5000, "--seed", 5,
            "--layout", "spans", "--end-date", LAST_DAY.isoformat(),
        )  # fmt: skip
        assert done.code == 0, done.err

    return once("generated", generate)[0] / "tables"


@dataclass(frozen=True)
class Published:
    """The first day's run and what it published: read it, never write.

    Attributes:
      work: holds `conf.yaml`, `runs/` and `serving/e2e/1`.
      done: the finished `tessera run --json`.
    """

    work: Path
    done: Done

    @property
    def conf(self):
        return self.work / "conf.yaml"

    @property
    def bundle(self):
        return self.work / "serving" / "e2e" / "1"


@pytest.fixture(scope="session")
def published(tables):
    """One whole run in a fresh process without network, shared by all tests of a test run."""

    def run(folder):
        conf = write_config(
            folder / "conf.yaml",
            tables,
            folder,
            data={"root": str(tables), "run_date": FIRST_DAY.isoformat(), **WINDOW},
            **DAILY,
        )
        # The main job asks nobody: it runs without any network, where that can be taken away.
        return tessera("run", "--conf", conf, "--json", before=without_network(), fresh=True)

    folder, done = once("published", run)
    assert done.code == 0, done.err
    return Published(folder, done)
