"""Latency, throughput and recall of retrieval beside faiss, hnswlib and exact search.

    python -m benchmarks.serving --items 100000 1000000

Every path gets the same users (12 embeddings each), is tuned to the same recall@100 of
its searches, runs on one thread and gives the same merged lists of 500 items. A library's
path is its search plus the retriever's own merge; it is handed the embeddings free of
charge. `clock` is wall time, `CPU` the process's CPU time of a request, which a busy
machine disturbs less; both are medians over requests of interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path as Folder

from benchmarks.serving import report


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--users", type=int, default=256)
    parser.add_argument("--results", type=int, default=500)
    parser.add_argument("--recall", type=float, default=0.95, help="recall@100 of each search")
    parser.add_argument("--rounds", type=int, default=5)
    peers = ["faiss_ivf", "faiss_ivfpq", "faiss_hnsw", "hnswlib"]
    parser.add_argument("--peers", nargs="*", default=peers, help="of them, and svs")
    parser.add_argument("--cache", default=".cache/bench-serving", help="keeps built indexes")
    parser.add_argument("--json", help="also write the figures there")
    arguments = parser.parse_args()
    from benchmarks.serving.world import ServingWorld

    found = []
    for items in arguments.items:
        world = ServingWorld(items, arguments)
        world.measure()
        found.append(world.figures())
        print(report.tables(found[-1]), flush=True)
    if arguments.json:
        Folder(arguments.json).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
