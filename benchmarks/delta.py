"""A delta beside a large ScaNN index: seconds until it is published, recall and CPU afterwards.

    python -m benchmarks.delta --items 1000000 --shares 0.01 0.05 0.2

An index is published once, with a stand-in for the model whose item table is as large as a real
one's. For each share, so many random items of the index go and as many new ones come; `tessera
refresh --delta` gets the whole new items table and is timed as a user starts it, imports and all,
with nothing else in memory.
Recall is that of the search among 100 neighbours of users' embeddings, against exact search in
the catalogue of that moment; CPU time that of whole requests of one user to the published
SavedModel, in a TF1 session with one thread, version by version.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from benchmarks.serving.data import HISTORY, SLOTS, SampleItems, make_catalogue, make_users
from benchmarks.serving.graphs import ServedGraph, Tower
from components.index_builder.tuning import neighbours, recall, tune_scann
from components.pusher.push import ManifestFields, PushRequest, push
from trainer.config import RetrievalConfig
from trainer.retrieval import signature
from trainer.retrieval.delta import DELTA_ASSET, no_items, write_delta
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.search import ExactSearch, Searcher

ROOT = Path(__file__).resolve().parent.parent
NAME, K = "delta", 100
CONFIG = RetrievalConfig(num_results=K, delta=True)
_QUERIES, _ROUNDS = 1000, 3


class Towers(Tower):
    """Looks users up by their newest item, and items by the number in their id."""

    def __init__(self, users: Any, vectors: np.ndarray) -> None:
        super().__init__(users)
        self.items = tf.Variable(vectors, trainable=False)

    @tf.function(input_signature=list(signature.USER_SPECS.values()))
    def embed_user(
        self,
        timestamp: tf.Tensor,
        history_item_id: tf.Tensor,
        history_timestamp: tf.Tensor,
        history_action: tf.Tensor,
        followed_topic: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Returns the slots of the users."""
        del timestamp
        row = tf.strings.to_hash_bucket_fast(history_item_id[:, 0], int(self.vectors.shape[0]) // 2)
        lists = (history_item_id, history_timestamp, history_action, followed_topic)
        return dict(super().embed_user(row, *lists))

    @tf.function(input_signature=list(signature.ITEM_SPECS.values()))
    def embed_items(self, item_id: tf.Tensor, item_topics: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the vectors of items."""
        del item_topics
        rows = tf.strings.to_number(tf.strings.substr(item_id, 3, 20), tf.int32)
        return {"embeddings": tf.gather(self.items, rows)}


class World:
    """An index, and the catalogue that its items and the new ones come from."""

    def __init__(self, items: int, shares: Sequence[float], work: Path, users: int = 64) -> None:
        self.items, self.work, self.shares = items, work, shares
        self.catalogue = make_catalogue(items + int(max(shares) * items), 64)
        self.known = SampleItems(*(part[:items] for part in vars(self.catalogue).values()))
        self.users = make_users(self.known, users)
        queries = make_users(self.known, _QUERIES // SLOTS + 1, seed=2).vectors
        self.queries = queries.reshape(-1, 64)[:_QUERIES]
        found = tune_scann(self.known.vectors, self.queries, 0.95, K)
        self.search, self.before = found[0], found[2]
        write_delta(no_items(64, {}), {}, work / DELTA_ASSET)
        self.tower = Towers(self.users, self.catalogue.vectors)
        self.retriever = self._retriever(lambda _: self.search)

    def _retriever(self, searcher: Callable[[tf.Variable], Searcher]) -> Retriever:
        known, empty = self.known, str(self.work / DELTA_ASSET)
        given = (self.tower, known.ids, known.topics, known.vectors, CONFIG, searcher)
        return Retriever(*given, delta=empty)

    def publish(self) -> None:
        """Publishes the index and writes the new items tables."""
        for share in self.shares:
            data = _tables(self.work, share)
            data.mkdir()
            pq.write_table(self.table(self.changed(share)), data / "items.parquet")
        index, evaluation = self.work / "index", self.work / "evaluation"
        save_retriever(self.retriever, str(index / "retriever_scann"))
        save_retriever(self._retriever(ExactSearch), str(index / "retriever"))
        pq.write_table(self.table(np.arange(self.items)), index / "items.parquet")
        np.save(index / "item_embeddings.npy", self.known.vectors)
        settings = CONFIG.model_dump(mode="json")
        about = {"serve": "retriever_scann", "items": self.items, "retrieval": settings}
        (index / "index.json").write_text(json.dumps(about))
        evaluation.mkdir()
        (evaluation / "evaluation.json").write_text('{"model": {}}')
        fields = ManifestFields(config={"retrieval": settings})
        request = PushRequest(index, None, evaluation, self.work / "serving", NAME, fields)
        push(request, blessed=True)

    def table(self, rows: np.ndarray) -> pa.Table:
        """Returns the items table of some rows of the catalogue."""
        names = pa.array([f"topic{topic}" for topic in self.catalogue.topic[rows]])
        topics = pa.ListArray.from_arrays(pa.array(np.arange(len(rows) + 1), pa.int32()), names)
        return pa.table({"item_id": [f"pin{row}" for row in rows], "topics": topics})

    def changed(self, share: float) -> np.ndarray:
        """Returns the rows of a catalogue of which a share is new."""
        count = int(share * self.items)
        kept = np.random.default_rng(7).permutation(self.items)[count:]
        return np.concatenate([np.sort(kept), np.arange(self.items, self.items + count)])

    def recall(self, share: float, folder: Path) -> float:
        """Returns recall@100 of the index with the delta of a published version."""
        rows = self.changed(share)
        self.retriever.delta.load(str(folder / "assets" / DELTA_ASSET))
        exact = ExactSearch(tf.Variable(self.catalogue.vectors[rows], trainable=False))
        truth = neighbours(exact, self.queries, K)
        found = neighbours(self.retriever.selector.searcher, self.queries, K)
        ids = np.where(found >= 0, self.retriever.ids_of(found).numpy(), b"")
        numbers = np.array([[int(name[3:] or -1) for name in each] for each in ids])
        return recall(numbers, rows[truth])


def _tables(work: Path, share: float) -> Path:
    return work / f"tables-{share}"


def refreshed(work: Path, share: float) -> dict[str, Any]:
    """Runs the command; returns what it prints, with its seconds."""
    conf = work / "refresh.json"
    conf.write_text(
        json.dumps(
            {
                "pipeline": "refresh",
                "name": NAME,
                "serving_dir": str(work / "serving"),
                "work_dir": str(work / "work"),
                "data": {"root": str(_tables(work, share))},
                "refresh": {"version": 1},
                "pusher": {"keep_versions": 99},
            }
        )
    )
    cpu, started = _children_cpu(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "cli", "refresh", "--delta", "--json", "--conf", str(conf)],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    clock = {"clock_s": time.perf_counter() - started, "cpu_s": _children_cpu() - cpu}
    return {**json.loads(done.stdout), **clock}


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def request_cpu(world: World, folder: Path) -> float:
    """Returns the CPU milliseconds of a request of one user to a version, a median."""
    ids = np.asarray(world.known.ids, object)
    served = ServedGraph(folder / "retriever_scann")
    call = served.call(signature.RETRIEVE, list(signature.USER_SPECS))
    spent: list[float] = []
    for user in [0, *list(range(len(world.users.vectors))) * _ROUNDS]:
        asked = [
            np.array([user]),
            ids[world.users.history[[user]]],
            np.zeros((1, HISTORY), np.int64),
            np.full((1, HISTORY), b"", object),
            np.full((1, 0), b"", object),
        ]
        started = time.process_time()
        call(*asked)
        spent.append(1000 * (time.process_time() - started))
    served.session.close()
    return float(np.median(spent[1:]))


def _publish(items: int, shares: Sequence[float], work: Path) -> None:
    World(items, shares, work).publish()


def _asked(
    items: int, shares: Sequence[float], work: Path, folders: Sequence[Path]
) -> list[tuple[float, float]]:
    """Returns recall@100 and CPU milliseconds of a request, before and for each share."""
    world = World(items, shares, work)
    before = (world.before, request_cpu(world, work / "serving" / NAME / "1"))
    return [before] + [
        (world.recall(share, folder), request_cpu(world, folder))
        for share, folder in zip(shares, folders, strict=True)
    ]


def _apart(call: Callable[..., Any], *given: Any) -> Any:
    """Returns what a function returns in a process of its own, whose memory goes with it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *given).result()


def measured(items: int, shares: list[float], work: Path) -> Iterator[str]:
    """Yields the lines of the table."""
    yield f"### {items:,} items, ScaNN\n"
    columns = ("seconds", "CPU s", "MB written", "recall@100", "CPU ms a request", "x")
    yield "| gone and new | " + " | ".join(columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    _apart(_publish, items, shares, work)
    runs = [refreshed(work, share) for share in shares]
    folders = [Path(run["push"]["destination"]) for run in runs]
    (recall_before, before), *after = _apart(_asked, items, shares, work, folders)
    yield f"| none | | | | {recall_before:.4f} | {before:.2f} | 1.00 |"
    for share, run, folder, (reached, cpu) in zip(shares, runs, folders, after, strict=True):
        own = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_nlink == 1]
        size = sum(path.stat().st_size for path in own) / 1e6
        yield (
            f"| {share:.0%} | {run['clock_s']:.1f} | {run['cpu_s']:.1f} | {size:.1f} | "
            f"{reached:.4f} | {cpu:.2f} | {cpu / before:.2f} |"
        )
        steps = ", ".join(f"{name} {value:.1f}" for name, value in run["seconds"].items())
        print(f"{share:.0%}: {steps}", file=sys.stderr)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.05, 0.2])
    arguments = parser.parse_args()
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    with tempfile.TemporaryDirectory() as folder:
        for line in measured(arguments.items, arguments.shares, Path(folder)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
