"""Load on the local server, with a version swap and a rollback in the middle.

    python -m benchmarks.load --minutes 10 --items 20000

Two versions of a generated retriever, whose item ids differ in every item, are
published and served by `tessera serve` in a process of its own. Client processes
ask without a pause (a closed loop: the next request follows the last answer). A
third into the run the server is told to serve version 2, at two thirds version 1
again. Promises: no request fails, no answer holds items of two versions or of
another one than it names, both switches take place, memory is flat. Exit code 1
when one is broken.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MODEL = "load"
#: The start of a run, left out of the figures of memory and latency.
WARM_SHARE = 0.1
#: Growth of memory between two moments under load on version 1 that counts as flat.
MEMORY_GROWTH = 1.15
_DIM, _TOPICS, _RESULTS, _HISTORY = 32, 50, 100, 20


def build(root: Path, items: int) -> Path:
    """Publishes two versions of a retriever over generated vectors; returns the model's folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from components.pusher.push import PushRequest, push
    from tests.trainer.retrieval.fake_model import FakeModel
    from trainer.config import RetrievalConfig
    from trainer.retrieval.retriever import Retriever, save_retriever

    evaluation = root / "evaluation"
    evaluation.mkdir(parents=True)
    (evaluation / "evaluation.json").write_text('{"model": {}}')
    (root / "model" / "Format-Serving" / "warm_start").mkdir(parents=True)
    (root / "model" / "Format-Serving" / "warm_start" / "none.txt").write_text("")
    for version in (1, 2):
        index = root / f"index-{version}"
        ids = [f"{version}-{n}" for n in range(items)]
        topics = [[f"t{n % _TOPICS}"] for n in range(items)]
        encoded = [each.encode() for each in ids]
        model = FakeModel(encoded, [f"t{n}".encode() for n in range(_TOPICS)], _DIM, version)
        vectors = model.item_vectors.numpy()[:items]
        carried = [[each.encode() for each in row] for row in topics]
        config = RetrievalConfig(num_results=_RESULTS, explicit_share=0.25)
        save_retriever(
            Retriever(model, encoded, carried, vectors, config), str(index / "retriever")
        )
        write_warm_up(index / "retriever", ids)
        pq.write_table(pa.table({"item_id": ids, "topics": topics}), index / "items.parquet")
        np.save(index / "item_embeddings.npy", vectors)
        (index / "index.json").write_text(json.dumps({"serve": "retriever", "items": items}))
        push(PushRequest(index, root / "model", evaluation, root / "serving", MODEL), blessed=True)
    return root / "serving" / MODEL


def write_warm_up(folder: Path, ids: list[str]) -> None:
    """Records requests beside a SavedModel that a server replays before it answers others."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    from serving.client import UserRequest, user_inputs
    from serving.server.session import WARMUP_FILE

    (folder / WARMUP_FILE).parent.mkdir()
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as writer:
        for length in (0, 1, _HISTORY):
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name, request.model_spec.signature_name = MODEL, "retrieve"
            user = UserRequest(1000, ids[:length], followed_topic=["t1"] if length else [])
            for name, value in user_inputs([user]).items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            writer.write(log.SerializeToString())


@dataclass
class Log:
    """What one client saw.

    Attributes:
      rows: `(moment answered, seconds taken, version)` per request.
      failed: texts of failed requests.
      mixed: answers with items of more than one version, or of another than named.
    """

    rows: list[tuple[float, float, int]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    mixed: int = 0


def client(seed: int, address: str, items: int, until: float, results: Any) -> None:
    """Asks until a moment of `time.time()`, then sends its log."""
    from serving.client import ServingClient, UserRequest

    chance = np.random.default_rng(seed)
    log = Log()
    with ServingClient(address, MODEL, timeout_s=60.0, tries=1) as asked:
        while time.time() < until:
            version = chance.integers(1, 3)
            picked = chance.integers(0, items, _HISTORY)
            user = UserRequest(
                timestamp=1000,
                history_item_id=[f"{version}-{n}" for n in picked],
                followed_topic=[f"t{chance.integers(0, _TOPICS)}"],
            )
            began = time.time()
            try:
                [answer] = asked.retrieve([user])
            except Exception as error:
                log.failed.append(f"{type(error).__name__}: {error}")
                continue
            ended = time.time()
            owners = {item.item_id.split("-")[0] for item in answer.items}
            named = str(answer.version) if answer.version else next(iter(owners), "")
            log.mixed += owners != {named}
            log.rows.append((ended, ended - began, int(named or 0)))
    results.put(log)


class Server:
    """`tessera serve` in a process of its own."""

    def __init__(self, model_dir: Path) -> None:
        """Starts it and reads its ports."""
        command = [sys.executable, "-m", "pipeline", "serve", "--port", "0", "--rest-port", "0"]
        self.process = subprocess.Popen(
            [*command, "--bundle", str(model_dir), "--poll-s", "0.5"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        printed = ""
        while "  page" not in printed:
            line = self.process.stdout.readline() if self.process.stdout else ""
            if not line:
                raise SystemExit(f"the server does not start:\n{printed}")
            printed += line
        self.grpc = re.findall(r"gRPC +(\S+)", printed)[0]
        self.rest = re.findall(r"REST +(http://[^/]+)", printed)[0]

    def rss_mb(self) -> float:
        """Returns its resident memory, in MB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024

    def stop(self) -> int:
        """Stops it gracefully; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


def watch(server: Server, model_dir: Path, began: float, seconds: float) -> list[list[float]]:
    """Switches versions at the thirds; returns `[moment, memory in MB]` twice a second."""
    from components.bundle.pins import Pins, write_pins

    switches = [(began + seconds / 3, 2), (began + 2 * seconds / 3, 1)]
    memory = []
    while time.time() < began + seconds:
        if switches and time.time() >= switches[0][0]:
            write_pins(model_dir, Pins(labels={"stable": switches.pop(0)[1]}))
        memory.append([time.time(), server.rss_mb()])
        time.sleep(0.5)
    return memory


def summary(
    logs: list[Log], memory: list[list[float]], began: float, seconds: float
) -> dict[str, Any]:
    """Returns the figures of a run."""
    rows = np.array(sorted(row for log in logs for row in log.rows)).reshape(-1, 3)
    rows = rows[rows[:, 0] >= began]  # clients begin as soon as they are ready
    moment, taken, version = rows.T
    used = np.array(memory)
    start, end = began + WARM_SHARE * seconds, began + seconds

    def at(low: float, high: float) -> np.ndarray:
        return (moment >= low) & (moment < high)

    def memory_mb(low: float, high: float) -> float:
        return round(float(np.median(used[(used[:, 0] >= low) & (used[:, 0] < high), 1])), 1)

    third = seconds / 3
    phases = {
        "version 1": at(start, began + third),
        "after the swap": at(began + third, began + 2 * third),
        "after the rollback": at(began + 2 * third, end),
    }
    figures = {
        name: {
            "requests": int(chosen.sum()),
            "p50_ms": round(float(np.percentile(taken[chosen], 50)) * 1000, 1),
            "p99_ms": round(float(np.percentile(taken[chosen], 99)) * 1000, 1),
            "worst_ms": round(float(taken[chosen].max()) * 1000, 1),
        }
        for name, chosen in phases.items()
        if chosen.any()
    }
    changes = version[np.flatnonzero(np.diff(version, prepend=0))].astype(int).tolist()
    return {
        "requests": len(rows),
        "failed": sum(len(log.failed) for log in logs),
        "failures": sorted({text for log in logs for text in log.failed})[:5],
        "mixed": sum(log.mixed for log in logs),
        "answered_by": {str(v): int((version == v).sum()) for v in sorted(set(version.tolist()))},
        "first_and_last": [changes[0], changes[-1]] if changes else [],
        "requests_per_s": round(len(rows) / seconds, 1),
        "phases": figures,
        "memory_mb": {
            "before": memory_mb(start, began + third),
            "after the swap": memory_mb(began + 1.5 * third, began + 2 * third),
            "end": memory_mb(end - 0.5 * third, end),
            "most": round(float(used[:, 1].max()), 1),
        },
    }


def broken(found: dict[str, Any]) -> list[str]:
    """Returns the promises that a run did not keep."""
    memory = found["memory_mb"]
    checks = {
        f"{found['failed']} requests failed: {found['failures']}": found["failed"] == 0,
        f"{found['mixed']} answers mix versions": found["mixed"] == 0,
        f"not both versions answered: {found['answered_by']}": {"1.0", "2.0"}
        <= found["answered_by"].keys(),
        f"version 1 is not first and last: {found['first_and_last']}": found["first_and_last"]
        == [1, 1],
        f"memory grew: {memory}": memory["end"] <= MEMORY_GROWTH * memory["before"],
        f"the server's exit code was {found['exit_code']}": found["exit_code"] == 0,
    }
    return [text for text, kept in checks.items() if not kept]


def run(minutes: float, clients: int, items: int, rest: bool, root: Path) -> dict[str, Any]:
    """Runs the whole load test below `root`."""
    from components.bundle.pins import Pins, write_pins

    model_dir = build(root, items)
    write_pins(model_dir, Pins(labels={"stable": 1}))
    server = Server(model_dir)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    seconds = 60.0 * minutes
    began = time.time() + 15.0  # clients import TensorFlow's protos first
    address = server.rest if rest else server.grpc
    workers = [
        context.Process(target=client, args=(seed, address, items, began + seconds, results))
        for seed in range(clients)
    ]
    try:
        for worker in workers:
            worker.start()
        time.sleep(max(0.0, began - time.time()))
        memory = watch(server, model_dir, began, seconds)
        logs = [results.get(timeout=300) for _ in workers]
        for worker in workers:
            worker.join()
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
        code = server.stop()
    return {**summary(logs, memory, began, seconds), "exit_code": code}


def main() -> int:
    """Parses the arguments and prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=2, help="processes that ask")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rest", action="store_true", help="ask over REST instead of gRPC")
    given = parser.parse_args()
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    with tempfile.TemporaryDirectory() as folder:
        found = run(given.minutes, given.clients, given.items, given.rest, Path(folder))
    print(json.dumps({**vars(given), **found}, indent=2))
    problems = broken(found)
    for problem in problems:
        print(f"BROKEN: {problem}", file=sys.stderr)
    if not problems:
        print("no failed request, no mixed answer, flat memory", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
