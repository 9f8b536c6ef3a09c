"""One index, its items in shards, and a router in front of servers of the shards.

    python -m benchmarks.shards --items 4000000 --shards 2

Items and users are those of `benchmarks.serving`; every slot of a user searches the whole
catalogue (no topic filter). Each index is tuned as the index builder does, to recall@100 of at
least .95 among its own items, on the queries of other users than those who ask. Servers are
processes of their own, with the product's gRPC server; the client is one more. Recall is of the
candidates that the servers give, against exact search of everything; requests are of one user
after the other, CPU that of all servers, memory what a process holds after them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import tensorflow as tf

from benchmarks.serving.data import HISTORY, SLOTS, SampleUsers, make_catalogue, make_users
from benchmarks.serving.graphs import Tower
from components.index_builder.catalogue import Catalogue
from components.index_builder.sharded import tune_shards, write_shards
from components.index_builder.tuning import neighbours, recall
from serving.server.engine import Engine
from serving.server.process import ModelServer
from serving.server.router import RoutedSession, Shards
from serving.server.session import Session
from serving.server.shard import search_once, shard_model
from serving.server.source import Aspired
from serving.server.version import LoadedVersion
from serving.transport import GrpcTransport, ModelTarget
from trainer import features
from trainer.config import RetrievalConfig
from trainer.retrieval import routing
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.search import ExactSearch
from trainer.retrieval.sharding import shard_of

ROOT = Path(__file__).resolve().parent.parent
NAME, K, DIM, VERSION = "shards", 100, 64, 1
CONFIG = RetrievalConfig(num_results=K, topic_filter=False)
_QUERIES, _USERS, _TARGET = 500, 64, 0.95
_WARM_UP = 2
ONE, SHARDED = "one", "sharded"


def write_world(items: int, shards: int, work: Path) -> None:
    """Writes vectors in the order of shards, the sizes of these, users and queries."""
    made = make_catalogue(items, DIM)
    shard = shard_of(made.ids, shards)
    order = np.argsort(shard, kind="stable")
    np.save(work / "vectors.npy", made.vectors[order])
    np.save(work / "order.npy", order)
    np.save(work / "sizes.npy", np.bincount(shard, minlength=shards))
    queries = make_users(made, _QUERIES // SLOTS + 1, seed=2).vectors.reshape(-1, DIM)
    np.save(work / "queries.npy", queries[:_QUERIES])
    np.savez(work / "users.npz", **vars(make_users(made, _USERS)))


def build(what: str, work: Path) -> dict[str, Any]:
    """Tunes one index, or one per shard, and writes the SavedModels; returns what it took."""
    ids = [b"pin%d" % row for row in np.load(work / "order.npy")]
    vectors, queries = np.load(work / "vectors.npy"), np.load(work / "queries.npy")
    sizes = tuple(np.load(work / "sizes.npy").tolist()) if what == SHARDED else ()
    catalogue = Catalogue(ids, [[]] * len(ids), vectors, shards=sizes)
    started, spent = time.perf_counter(), time.process_time()
    search, tuned, reached, _ = tune_shards(catalogue, queries, _TARGET, K)
    build_s, cpu_s = time.perf_counter() - started, time.process_time() - spent
    tower = Tower(SampleUsers(**np.load(work / "users.npz")))
    retriever = Retriever(tower, ids, catalogue.topics, vectors, CONFIG, lambda _: search)
    save_retriever(retriever, str(work / what))
    if sizes:
        write_shards(tower, catalogue, CONFIG, None, search, work)
    chosen = [f"{each.num_leaves}/{each.leaves_to_search}/{each.reorder}" for each in tuned]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"recall": reached, "peak_mb": peak, "tuned": ", ".join(chosen)}
    return {**found, "build_s": build_s, "cpu_s": cpu_s}


class _Same:
    """A source that has one version for ever."""

    def __init__(self, name: str) -> None:
        self.name = name

    def aspired(self) -> Aspired:
        """Returns the version."""
        return Aspired({VERSION: ROOT})


def _session(what: str, work: Path, addresses: list[str]) -> tuple[str, Session]:
    """Returns the name of a model and what answers for it."""
    if what in (ONE, SHARDED):
        return NAME, Session(work / what, scann=True)
    if what == "router":
        shards = Shards(NAME, addresses, partial=False)
        for servers in shards.servers:
            servers.look()
        return NAME, RoutedSession(work / "router", VERSION, shards)
    session = Session(work / "shards" / what, scann=True)
    search_once(session, DIM)
    return shard_model(NAME, int(what)), session


def serve(what: str, work: Path, addresses: list[str]) -> None:
    """Serves one SavedModel until standard input ends; prints the port first."""
    name, session = _session(what, work, addresses)
    # What is measured is not published, so there is no manifest.
    bundle = cast(Any, SimpleNamespace(manifest=SimpleNamespace(version=VERSION)))
    server = ModelServer(Engine(_Same(name), loader=lambda _: LoadedVersion(bundle, session)))
    server.start()
    print(server.port, flush=True)
    sys.stdin.read()


def _child(*words: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.shards", *words]


def built(what: str, work: Path) -> dict[str, Any]:
    """Runs `build` in a process of its own."""
    words = _child("--work", str(work), "--build", what)
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def served(what: str, work: Path, addresses: list[str] | None = None) -> Any:
    """Runs `serve` in a process of its own; yields its address and process id."""
    words = _child("--work", str(work), "--serve", what, *(addresses or []))
    process = subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no output")
        yield f"127.0.0.1:{int(process.stdout.readline())}", process.pid
    finally:
        process.communicate()


def resident_mb(pid: int) -> float:
    """Returns what a process holds in memory now."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def cpu_ms(pids: list[int]) -> float:
    """Returns the CPU milliseconds that processes have used so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return 1000 * ticks / os.sysconf("SC_CLK_TCK")


def request_ms(address: str, pids: list[int], work: Path, rounds: int) -> str:
    """Returns what requests of one user take: a median, the 95th percentile, CPU of the servers."""
    history = np.load(work / "users.npz")["history"]
    client, spent, cpu = GrpcTransport(address), [], 0.0
    for number, user in enumerate([0, 1, *list(range(_USERS)) * rounds]):
        if number == _WARM_UP:
            cpu = cpu_ms(pids)
        inputs = {
            "timestamp": np.array([user]),
            "history_item_id": np.array([[b"pin%d" % row for row in history[user]]], object),
            "history_timestamp": np.zeros((1, HISTORY), np.int64),
            "history_action": np.full((1, HISTORY), b"", object),
            "followed_topic": np.full((1, 1), b"", object),
        }
        started = time.perf_counter()
        client.predict(ModelTarget(NAME, VERSION), "retrieve", inputs, 60.0)
        spent.append(1000 * (time.perf_counter() - started))
    client.close()
    spent = spent[_WARM_UP:]
    p50, p95 = np.median(spent), np.quantile(spent, 0.95)
    return f"{p50:.1f} | {p95:.1f} | {(cpu_ms(pids) - cpu) / len(spent):.1f}"


def shard_recall(addresses: list[str], work: Path) -> float:
    """Returns recall@100 of the candidates of all servers, merged."""
    queries = np.load(work / "queries.npy")
    shape = [len(queries), 1]
    asked = {
        routing.VECTORS: queries[:, None, :],
        routing.SLOT_TOPIC: np.full(shape, b"", object),
        routing.SLOT_KIND: np.zeros(shape, np.int32),
        routing.VALID: np.ones(shape, bool),
        routing.LIMIT: np.full(len(queries), K, np.int32),
        features.HISTORY_ITEM_ID: np.full(shape, b"", object),
    }
    shards = Shards(NAME, addresses, partial=False, timeout_s=600.0)
    for servers in shards.servers:
        servers.look()
    found, _ = shards.search(VERSION, routing.SEARCH_SLOTS, asked)
    best = np.argsort(-found[routing.SCORE][:, 0], axis=1, kind="stable")[:, :K]
    ids = np.take_along_axis(found[routing.ITEM_ID][:, 0], best, axis=1)
    order, vectors = np.load(work / "order.npy"), np.load(work / "vectors.npy")
    exact = ExactSearch(tf.Variable(vectors, trainable=False))
    truth = order[neighbours(exact, queries, K)]
    return recall(np.array([[int(name[3:] or -1) for name in row] for row in ids]), truth)


def measured(items: int, shards: int, rounds: int, work: Path) -> Iterator[str]:
    """Yields the lines of the table."""
    write_world(items, shards, work)
    yield f"### {items:,} x {DIM}, {shards} shards\n"
    yield (
        "| | build s | CPU s | peak MB | leaves/searched/re-scored | recall@100 "
        "| request p50 ms | p95 ms | CPU ms | MB of each server |"
    )
    yield "|---|---:|---:|---:|---|---:|---:|---:|---:|---:|"
    for what, words in ((ONE, "one index"), (SHARDED, f"{shards} shards in one process")):
        made = built(what, work)
        with served(what, work) as (address, pid):
            timed, mb = request_ms(address, [pid], work, rounds), resident_mb(pid)
        yield (
            f"| {words} | {made['build_s']:.0f} | {made['cpu_s']:.0f} | {made['peak_mb']:,.0f} "
            f"| {made['tuned']} | {made['recall']:.4f} | {timed} | {mb:,.0f} |"
        )
    with ExitStack() as running:
        parts = [running.enter_context(served(str(n), work)) for n in range(shards)]
        addresses = [address for address, _ in parts]
        router, pid = running.enter_context(served("router", work, addresses))
        pids = [pid, *(own for _, own in parts)]
        timed = request_ms(router, pids, work, rounds)
        held = " + ".join(f"{resident_mb(each):,.0f}" for each in pids)
        reached = shard_recall(addresses, work)
    yield f"| a router and {shards} processes | | | | | {reached:.4f} | {timed} | {held} |"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="requests of each of the 64 users")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--build", help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.build:
        print(json.dumps(build(args.build, args.work)))
    elif args.serve:
        serve(args.serve[0], args.work, args.serve[1:])
    else:
        with tempfile.TemporaryDirectory(prefix="tessera-shards-") as work:
            for line in measured(args.items, args.shards, args.rounds, Path(work)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
