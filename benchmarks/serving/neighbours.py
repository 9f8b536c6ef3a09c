"""What neighbours of the history cost in a request, beside the same retriever without them.

    python -m benchmarks.serving.neighbours --items 10000 100000

ScaNN searches, tuned to the same recall; users with 50 history items and 12 slots; one thread.
Every item has `--each` neighbours at random. Medians over requests of interleaved rounds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path as Folder

import numpy as np

from benchmarks.serving.data import HISTORY, SLOTS, SampleItems, make_catalogue, make_users
from benchmarks.serving.graphs import ServedGraph, Tower
from benchmarks.serving.timing import Path, measure
from components.index_builder.tuning import tune_scann
from trainer.config import RetrievalConfig
from trainer.retrieval import signature
from trainer.retrieval.neighbours import NeighbourTable
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.search import load_scann_ops

_FEEDS = list(signature.USER_SPECS)
_BATCHES = (1, 32)


def random_table(items: int, each: int, seed: int = 0) -> NeighbourTable:
    """Returns a table with as many neighbours of every item, drawn at random."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, items, items * each).astype(np.int32)
    starts = np.arange(0, items * each + 1, each, dtype=np.int32)
    return NeighbourTable(starts, rows, random.random(items * each, np.float32) + 0.01, 0.2)


def paths(items: int, arguments: argparse.Namespace) -> list[Path]:
    """Returns the retriever without and with neighbours, loaded, as programs to time."""
    catalogue: SampleItems = make_catalogue(items, arguments.dim)
    users = make_users(catalogue, arguments.users)
    queries = make_users(catalogue, -(-1000 // SLOTS), seed=2).vectors.reshape(-1, arguments.dim)
    load_scann_ops()
    config = RetrievalConfig(num_results=arguments.results)
    searcher, *_ = tune_scann(catalogue.vectors, queries, 0.95, config.num_results)
    ids = np.asarray(catalogue.ids, object)
    found = []
    for name, table in (("without", None), ("with", random_table(items, arguments.each))):
        retriever = Retriever(
            Tower(users), catalogue.ids, catalogue.topics, catalogue.vectors, config,
            searcher=lambda _: searcher, neighbours=table,
        )  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="bench-neighbours-") as folder:
            save_retriever(retriever, folder)
            size = sum(f.stat().st_size for f in Folder(folder).rglob("*") if f.is_file()) / 1e6
            call = ServedGraph(Folder(folder)).call(signature.RETRIEVE, _FEEDS)

        def run(asked: np.ndarray, call: object = call) -> object:
            history = ids[users.history[asked % len(users.history)]]
            zeros = np.zeros((len(asked), HISTORY), np.int64)
            texts = np.full((len(asked), HISTORY), b"", object)
            follows = np.full((len(asked), 0), b"", object)
            return call(asked.astype(np.int64), history, zeros, texts, follows)  # type: ignore[operator]

        found.append(Path(name, run, f"{size:,.1f} MB"))
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--users", type=int, default=128)
    parser.add_argument("--results", type=int, default=100)
    parser.add_argument("--each", type=int, default=100, help="neighbours of each item")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("   items  neighbours  SavedModel  batch  clock ms  CPU ms")
    for items in arguments.items:
        programs = paths(items, arguments)
        everyone = np.arange(arguments.users)
        batches = {size: np.array_split(everyone, len(everyone) // size) for size in _BATCHES}
        measure(programs, batches, arguments.rounds)
        for size in _BATCHES:
            for path in programs:
                clock, cpu = path.milliseconds(size), path.milliseconds(size, of_cpu=True)
                print(
                    f"{items:>8,}  {path.name:<10}  {path.note:>10}  {size:>5}  {clock:>8.2f}  "
                    f"{cpu:>6.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
