"""What running the compiled pipeline task by task costs beside the local runner, in one run.

    python -m benchmarks.compiled --users 300

The same generated tables and configuration, once through `tessera run --conf` (one process),
once compiled and through `tessera run --compiled` (a process per task, artifacts copied to
and from a folder that stands for the object store, as on Kubeflow). Wall seconds per
component, and what compiling takes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
END = "2024-03-31"
NAME = "compiled"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.users, arguments.items, arguments.epochs)
    show(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(folder: Path, users: int, items: int, epochs: int) -> dict[str, Any]:
    """Returns wall seconds: `compile`, `local` and `compiled`, in total and by component."""
    tables, conf, file = folder / "tables", folder / "conf.yaml", folder / "pipeline.yaml"
    tessera(
        "data", "generate", "--out", tables, "--users", users, "--items", items, "--topics", 16,
        "--days", 14, "--layout", "spans", "--end-date", END,
    )  # fmt: skip
    conf.write_text(yaml.safe_dump(configuration(tables, folder, epochs)))
    places = (f"data.root={tables}", f"serving_dir={folder}/local", f"data.run_date={END}")
    local_s, report = tessera(
        "run", "--conf", conf, "--json", *(word for place in places for word in ("--set", place))
    )
    compile_s, _ = tessera("compile", "--conf", conf, "-o", file)
    compiled_s, record = tessera(
        "run", "--compiled", file, "--run-date", END, "--json", "--work-dir", folder / "compiled",
        "--param", f"data_root={tables}", "--param", f"serving_root={folder}/pushed",
    )  # fmt: skip
    tasks = json.loads(record)["tasks"]
    return {
        "compile_s": round(compile_s, 1),
        "local_s": round(local_s, 1),
        "compiled_s": round(compiled_s, 1),
        "local": json.loads(report)["timings_s"],
        "compiled": {name: task["seconds"] for name, task in tasks.items()},
    }


def configuration(tables: Path, folder: Path, epochs: int) -> dict[str, Any]:
    """Returns a configuration that can be compiled; its places are given to each run."""
    return {
        "name": NAME,
        "work_dir": str(folder / "work"),
        "serving_dir": "s3://bucket/serving",
        "data": {"root": "s3://bucket/tables", "window_days": 12},
        "examples": {"split": {"strategy": "time", "eval_days": 2, "validation_days": 1}},
        "trainer": {"epochs": epochs, "batch_size": 128, "uniform_negatives": 128},
        "evaluator": {"thresholds": {"recall@100": {"min": 0.0}}, "must_beat_floors": []},
        "kubeflow": {"image": "registry.example/tessera:1"},
    }


def tessera(*words: object) -> tuple[float, str]:
    """Runs the command line; returns wall seconds and what it printed on stdout."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, words)],
        cwd=ROOT,
        env={**os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"tessera {' '.join(map(str, words))} failed:\n{done.stderr}")
    return time.monotonic() - started, done.stdout


def show(figures: dict[str, Any]) -> None:
    """Prints the table."""
    print(f"compile: {figures['compile_s']} s")
    print(f"{'component':<22}{'local s':>10}{'compiled s':>12}{'more s':>10}")
    for name, seconds in figures["compiled"].items():
        here = figures["local"].get(name, 0.0)
        print(f"{name:<22}{here:>10.1f}{seconds:>12.1f}{seconds - here:>10.1f}")
    local, compiled = figures["local_s"], figures["compiled_s"]
    print(f"{'whole command':<22}{local:>10.1f}{compiled:>12.1f}{compiled - local:>10.1f}")
    print(f"compiled / local: {compiled / local:.2f}")


if __name__ == "__main__":
    main()
