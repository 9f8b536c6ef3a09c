"""ExampleGen with several worker processes writes what it writes in one process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tfx.types import standard_artifacts

from components.artifacts import DataReport
from components.config import ExampleGenConfig
from components.example_gen.executor import Executor
from core.files import read_json
from pipeline.config import load_tree
from tests.components.example_gen_oracle import Rules
from tests.components.example_gen_tables import at, config_for, files_of, write_csv
from tests.components.test_example_gen_ingest import FOLLOWS, ITEMS, RULES, log

pytestmark = [pytest.mark.slow("Beam workers in processes of their own"), pytest.mark.nightly]

CONF = Path(__file__).resolve().parents[2] / "conf"
#: Files of the engagements: as many can be read at once.
PARTS = 6
WORKER = "apache_beam.runners.worker.sdk_worker_main"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ExampleGenConfig:
    """Tables of many files, with rows that are dead letters for the reader and for the join."""
    root = tmp_path_factory.mktemp("tables")
    start = 1_704_067_200  # 2024-01-01
    for part in range(PARTS):
        day = f"span=2024-01-{part + 1:02d}"
        events = [
            event._replace(time=start + part * 86_400 + event.time) for event in log(500, part)
        ]
        write_csv(root / "engagements" / day / "part-0.csv", "engagements", events)
        items = [(item, "|".join(topics)) for item, topics in ITEMS.items()]
        write_csv(root / "items" / day / "part-0.csv", "items", items)
        write_csv(root / "follows" / day / "part-0.csv", "follows", at(start, FOLLOWS))
        with open(root / "engagements" / day / "part-0.csv", "ab") as file:
            file.write(b"u1,i1\r\nu\xff1,i1,1,like,,\r\n")
        with open(root / "items" / day / "part-0.csv", "ab") as file:
            file.write(b"i1,t1|t2|t3\r\n")
    rules = Rules(**(RULES._asdict() | {"strategy": "time", "eval_days": 2, "validation_days": 1}))
    data = {"root": str(root), "run_date": f"2024-01-{PARTS:02d}", "window_days": PARTS}
    return config_for(
        root, rules, data=data, time_unit="seconds", bucket_rows=300, max_bad_share=0.9
    )


def run(config: ExampleGenConfig, out: Path, *args: str) -> dict[str, Any]:
    """Runs the executor as TFX does; returns everything it wrote."""
    examples, report = standard_artifacts.Examples(), DataReport()
    examples.uri, report.uri = str(out / "examples"), str(out / "report")
    context = Executor.Context(
        beam_pipeline_args=[*args, "--sdk_container_image=none"],
        tmp_dir=str(out / "tmp"),
        unique_id="1",
    )
    properties = {
        "data_root": config.data.root,
        "run_date": str(config.data.run_date),
        "config_json": config.canonical_json(),
        "dead_letter_dir": str(out / "kept"),
    }
    Executor(context).Do({}, {"examples": [examples], "report": [report]}, properties)
    letters = [
        line
        for path in (out / "report" / "dead_letter").iterdir()
        for line in path.read_text().splitlines()
    ]
    return {
        "files": files_of(out),
        "report": read_json(out / "report" / "data_report.json"),
        "letters": sorted(letters),
        "hidden": [str(p) for p in out.rglob(".*") if p.is_file()],
        "span": examples.span,
    }


@pytest.fixture(scope="module")
def wanted(config: ExampleGenConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = run(config, tmp_path_factory.mktemp("wanted"), "--runner=FnApiRunner")
    reasons = found["report"]["dead_letter_reasons"]
    assert reasons["duplicate item_id"] == 1
    assert len(found["letters"]) == sum(reasons.values()) == 2 * PARTS + 1
    assert len(found["files"]) > 20
    assert found["report"]["examples"]["eval"] > 0
    return found


@contextmanager
def watched() -> Iterator[set[int]]:
    """Collects the ids of Beam's worker processes that this one starts."""
    seen: set[int] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.2):
            for child in psutil.Process().children(recursive=True):
                try:
                    if WORKER in child.cmdline():
                        seen.add(child.pid)
                except psutil.Error:
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def test_in_several_processes(config: ExampleGenConfig, wanted: dict, tmp_path: Path) -> None:
    with watched() as pids:
        found = run(
            config,
            tmp_path,
            "--runner=FnApiRunner",
            "--direct_running_mode=multi_processing",
            "--direct_num_workers=2",
        )
    assert found == wanted
    assert len(pids) >= 2


@contextmanager
def served(
    module: str, option: str, port: int, log_file: Path, folder: Path | None = None
) -> Iterator[subprocess.Popen]:
    """Runs a server of Beam, from when it answers; with `folder` as current one and TMPDIR."""
    # The worker pool starts `python`.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with open(log_file, "wb") as sink:
        server = subprocess.Popen(
            [sys.executable, "-m", module, f"--{option}={port}"],
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": path} | ({"TMPDIR": str(folder)} if folder else {}),
            cwd=folder,
        )
    try:
        for _ in range(300):
            with socket.socket() as client:
                if client.connect_ex(("localhost", port)) == 0:
                    break
            assert server.poll() is None, log_file.read_text()
            time.sleep(0.2)
        yield server
    finally:
        server.terminate()
        server.wait(30)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def test_through_a_job_server_and_a_worker_pool(
    config: ExampleGenConfig, wanted: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of the Flink and Spark presets, with Beam's own job server in their place."""
    jobs, pool = free_port(), free_port()
    monkeypatch.setenv("TESSERA_BEAM_JOB_SERVER", f"localhost:{jobs}")
    preset = load_tree(CONF / "beam" / "flink.yaml")["beam"]["args"]
    args = [arg.replace(":50000", f":{pool}") for arg in preset]
    job_server = "apache_beam.runners.portability.local_job_service_main"
    worker_pool = "apache_beam.runners.worker.worker_pool_main"
    with (
        served(job_server, "port", jobs, tmp_path / "jobs.log"),
        served(worker_pool, "service_port", pool, tmp_path / "pool.log"),
    ):
        found = run(config, tmp_path / "out", *args)
    assert found == wanted
    assert "Starting worker with command" in (tmp_path / "pool.log").read_text()
