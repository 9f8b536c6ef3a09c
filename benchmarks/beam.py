"""ExampleGen and Transform on each engine that runs here: wall and CPU seconds, memory.

    python -m benchmarks.beam --sizes 100000 1000000

Each measurement is a fresh program. `wall` and `cpu` are of the step itself, with the
workers that Beam starts for it (multi-process pays that in every step). `cpu` counts all
processes of the step, job server and workers included; `memory` is the largest sum of
what they held at one time. Every engine must write the same examples, and as many
transformed ones with the same vocabularies. Prism is left out where `make prism` has not
built it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.example_gen import BEAM_ARGS, run_transform
from benchmarks.fresh import ROOT, fresh

#: Days of the log: files of engagements, the most that can be read at once.
DAYS = 14
PRISM = "prism"
ENGINES = ("in-memory", "multi-process", PRISM)
STEPS = ("example_gen", "transform")
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tessera/tools"
_PRISM_PROGRAM = Path(os.environ.get("TESSERA_TOOLS") or _CACHE) / "prism-2.74.0"
_SAMPLE_S = 0.2


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


@contextlib.contextmanager
def engine_arguments(engine: str, workers: int, logs: Path) -> Iterator[list[str]]:
    """Yields Beam's options for an engine; job server and worker pool run meanwhile."""
    if engine != PRISM:
        several = [f"--direct_num_workers={workers}", "--direct_running_mode=multi_processing"]
        yield [*BEAM_ARGS, *(several if engine == "multi-process" else [])]
        return
    from pipeline.config import load_tree

    jobs, pool, web = _free_port(), _free_port(), _free_port()
    os.environ["TESSERA_BEAM_JOB_SERVER"] = f"localhost:{jobs}"
    os.environ["TESSERA_BEAM_WORKERS"] = str(workers)
    # The worker pool starts `python`.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    pool_program = "apache_beam.runners.worker.worker_pool_main"
    commands = {
        jobs: [str(_PRISM_PROGRAM), f"--job_port={jobs}", f"--web_port={web}"],
        pool: [sys.executable, "-m", pool_program, f"--service_port={pool}"],
    }
    preset = load_tree(ROOT / "conf/beam/flink.yaml")["beam"]["args"]
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(logs, "wb"))
        for port, command in commands.items():
            server = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(server.wait)
            stack.callback(server.terminate)
            _wait_for(port, server)
        yield [argument.replace(":50000", f":{pool}") for argument in preset]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen) -> None:
    while server.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"{server.args} ended with {server.returncode} before it answered")


class Usage:
    """CPU seconds and peak memory of this process and all below it, while the block runs."""

    def __enter__(self) -> Usage:
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._sample, daemon=True)
        self.peak_gb = 0.0
        self._wall, self._cpu = time.monotonic(), total_cpu()
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.wall, self.cpu = time.monotonic() - self._wall, self.so_far()
        self._done.set()
        self._watch.join()

    def so_far(self) -> float:
        """Returns the CPU seconds since the block began."""
        return total_cpu() - self._cpu

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLE_S):
            held = sum(_read(process, _resident) for process in _family())
            self.peak_gb = max(self.peak_gb, held / 1e9)


def _family() -> list[psutil.Process]:
    return [psutil.Process(), *psutil.Process().children(recursive=True)]


def _read(process: psutil.Process, figure: Any) -> float:
    try:
        return float(figure(process))
    except psutil.Error:  # it ended
        return 0.0


def _resident(process: psutil.Process) -> float:
    return float(process.memory_info().rss)


def total_cpu() -> float:
    """Returns CPU seconds of this process and all below it, also of those that ended."""
    return sum(_read(process, lambda p: sum(p.cpu_times()[:4])) for process in _family())


def run_step(
    step: str, engine: str, workers: int, data: Path, out: Path, bucket_rows: int
) -> dict[str, Any]:
    """Runs a step once and returns what it cost and what says that it wrote the right thing."""
    # Imported before the clock starts, what the step itself would import as well.
    import apache_beam as beam
    import tfx.components.transform.executor  # noqa: F401

    import trainer.preprocessing  # noqa: F401
    from components.example_gen.ingest import ingest
    from components.example_gen.window import resolve

    out.mkdir()
    with engine_arguments(engine, workers, out / "engine.log") as arguments, Usage() as usage:
        if step == "transform":
            run_transform(data, out, arguments)
        else:
            config = step_config(data, bucket_rows)
            ingest(
                config,
                resolve(config, {}),
                examples_uri=str(out / "examples"),
                report_uri=str(out / "report"),
                dead_letter_dir=str(out / "kept"),
                make_pipeline=lambda: beam.Pipeline(argv=arguments),
            )
    written = transformed(out) if step == "transform" else digest(out / "examples")
    return {"wall": usage.wall, "cpu": usage.cpu, "memory_gb": usage.peak_gb, "written": written}


def digest(folder: Path) -> str:
    """Returns a digest of all Parquet files, names and bytes."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.parquet")):
        found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()


def transformed(out: Path) -> str:
    """Returns the number of records of each split and a digest of the vocabularies."""
    import tensorflow as tf

    counts = {
        folder.name: sum(
            1
            for path in folder.glob("*.gz")
            for _ in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()
        )
        for folder in sorted((out / "transformed").iterdir())
    }
    assets = b"".join(path.read_bytes() for path in sorted((out / "graph").rglob("assets/*")))
    return f"{counts} {hashlib.sha256(assets).hexdigest()}"


def bench(size: int, workers: int, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Measures the engines in turn; of each the round with the least CPU time counts.

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
    engines = [engine for engine in ENGINES if engine != PRISM or _PRISM_PROGRAM.is_file()]
    rows = []
    for step in STEPS:
        data = folder / "data"
        if step == "transform":
            data = folder / f"example_gen-{engines[0]}-0" / "examples"
        found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
        for number in range(rounds):
            for engine, results in found.items():
                out = folder / f"{step}-{engine}-{number}"
                given = [step, engine, str(workers), str(data), str(out), str(max(1, events // 8))]
                results.append(fresh([sys.executable, "-m", "benchmarks.beam", "--step", *given]))
        if len({result["written"] for results in found.values() for result in results}) != 1:
            raise SystemExit(f"the engines wrote different things: {found}")
        best = {engine: min(results, key=lambda r: r["cpu"]) for engine, results in found.items()}
        rows += [
            {"engagements": events, "step": step, "engine": engine, **result}
            for engine, result in best.items()
        ]
    return rows


HEADER = (
    "| engagements | step | engine | wall s | CPU s | memory GB | wall, CPU against in-memory |\n"
    "|---:|---|---|---:|---:|---:|---:|"
)


def lines(rows: list[dict[str, Any]]) -> str:
    """Returns the results as lines below `HEADER`."""
    base = {row["step"]: row for row in rows if row["engine"] == ENGINES[0]}
    return "\n".join(
        f"| {row['engagements']:,} | {row['step']} | {row['engine']} | {row['wall']:.1f} | "
        f"{row['cpu']:.1f} | {row['memory_gb']:.1f} | "
        f"{row['wall'] / base[row['step']]['wall']:.2f}, "
        f"{row['cpu'] / base[row['step']]['cpu']:.2f} |"
        for row in rows
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--workers", type=int, default=2, help="of multi-process and Prism")
    parser.add_argument("--rounds", type=int, default=2, help="the best of each engine counts")
    parser.add_argument("--json", help="also write the results there")
    parser.add_argument("--step", nargs=6, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step, engine, workers, data, out, bucket_rows = arguments.step
        result = run_step(step, engine, int(workers), Path(data), Path(out), int(bucket_rows))
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
    print("All engines wrote the same examples, as many records and the same vocabularies.")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
