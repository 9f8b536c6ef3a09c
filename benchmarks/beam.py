"""ExampleGen in one process and in several: wall and CPU seconds, ratios.

    python -m benchmarks.beam --sizes 300000 1000000

Each measurement is a fresh program. `wall` and `cpu` are of the step itself, with the
workers that Beam starts for it (multi-process pays that in every step). `cpu` counts
all processes. Every engine must write the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.example_gen import cpu_seconds
from benchmarks.fresh import fresh

#: Days of the log: files of engagements, the most that can be read at once.
DAYS = 14
ENGINES = {
    "in-memory": (),
    "multi-process": ("--direct_running_mode=multi_processing",),
}


def step_config(data: Path, bucket_rows: int) -> Any:
    """The configuration that `benchmarks/example_gen.py` has, for tables of one file per day."""
    from components.config import ExampleGenConfig, SplitConfig
    from input_tables.config import DataConfig

    last = max((data / "engagements").iterdir()).name.removeprefix("span=")
    return ExampleGenConfig(
        data=DataConfig(root=str(data), run_date=last, window_days=DAYS),
        split=SplitConfig(eval_days=3, validation_days=2),
        follows_max_topics=20,
        negative_actions=("hide",),
        bucket_rows=bucket_rows,
    )


def run_step(engine: str, workers: int, data: Path, out: Path, bucket_rows: int) -> dict[str, Any]:
    """Runs the step once and returns what it cost and a digest of what it wrote."""
    import apache_beam as beam

    from components.example_gen.ingest import ingest
    from components.example_gen.window import resolve

    config = step_config(data, bucket_rows)
    args = ["--runner=FnApiRunner", "--sdk_container_image=none", *ENGINES[engine]]
    if engine == "multi-process":
        args.append(f"--direct_num_workers={workers}")
    started, cpu = time.monotonic(), total_cpu()
    ingest(
        config,
        resolve(config, {}),
        examples_uri=str(out / "examples"),
        report_uri=str(out / "report"),
        dead_letter_dir=str(out / "kept"),
        make_pipeline=lambda: beam.Pipeline(argv=args),
    )
    return {
        "wall": time.monotonic() - started,
        "cpu": total_cpu() - cpu,
        "digest": digest(out / "examples"),
    }


def total_cpu() -> float:
    """Returns CPU seconds of this process, of its children that ended and of those that run."""
    running = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:
            continue
        running += times.user + times.system
    return cpu_seconds() + running


def digest(folder: Path) -> str:
    """Returns a digest of all Parquet files, names and bytes."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.parquet")):
        found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()


def bench(size: int, workers: int, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Measures the engines in turn; of each the round with the least wall time counts.

    Args:
      size: engagements to generate, about.
      workers: processes of the engines that have several.
      rounds: how often each engine runs.
      folder: an empty folder to work in.
    """
    from input_tables.generate import GeneratorConfig, write_generated

    config = GeneratorConfig(
        users=max(50, size // 18),
        items=max(200, size // 50),
        topics=200,
        engagements=size,
        days=DAYS,
    )
    events = write_generated(config, folder / "data", "csv", "spans")["engagements"]
    found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    for number in range(rounds):
        for engine, results in found.items():
            out = folder / f"{engine}-{number}"
            given = [str(workers), str(folder / "data"), str(out), str(max(1, events // 8))]
            step = [sys.executable, "-m", "benchmarks.beam", "--step", engine, *given]
            results.append(fresh(step))
    digests = {result["digest"] for results in found.values() for result in results}
    if len(digests) != 1:
        raise SystemExit(f"the engines wrote different examples: {found}")
    best = {engine: min(results, key=lambda r: r["wall"]) for engine, results in found.items()}
    base = best["in-memory"]
    return [
        {
            "engagements": events,
            "engine": engine,
            **result,
            "ratio": {key: result[key] / base[key] for key in ("wall", "cpu")},
        }
        for engine, result in best.items()
    ]


HEADER = f"{'engagements':>11} {'engine':<14} {'wall s':>7} {'cpu s':>7}   x in-memory: wall / cpu"


def lines(rows: list[dict[str, Any]]) -> str:
    """Returns the results as lines below `HEADER`."""
    return "\n".join(
        f"{row['engagements']:>11,} {row['engine']:<14} {row['wall']:>7.2f} {row['cpu']:>7.2f}   "
        f"{row['ratio']['wall']:>18.2f} / {row['ratio']['cpu']:.2f}"
        for row in rows
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[300_000, 1_000_000])
    parser.add_argument("--workers", type=int, default=2, help="of multi-process")
    parser.add_argument("--rounds", type=int, default=2, help="the fastest of each engine counts")
    parser.add_argument("--json", help="also write the results there")
    parser.add_argument("--step", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        engine, workers, data, out, bucket_rows = arguments.step
        result = run_step(engine, int(workers), Path(data), Path(out), int(bucket_rows))
        print(json.dumps(result))
        return
    print(f"{os.cpu_count()} cores, {arguments.workers} workers, load {os.getloadavg()[0]:.1f}")
    print(HEADER, flush=True)
    rows: list[dict[str, Any]] = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(prefix="tessera-benchmark-") as folder:
            found = bench(size, arguments.workers, arguments.rounds, Path(folder))
        print(lines(found), flush=True)
        rows += found
    print("All engines wrote the same files.")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
