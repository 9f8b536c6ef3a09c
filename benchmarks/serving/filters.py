"""Filtered search: recall and latency by selectivity, beside unfiltered search and libraries.

    python -m benchmarks.serving.filters --items 100000 1000000

A request is one user's 12 embeddings with 100 neighbours each, in one thread. Each selectivity
is a condition on a random number of the items (`part<=0.01`), the last row one on a topic,
whose items lie close together and mostly far from the user. Our searches run as a SavedModel in
a TF1 session and work the allowed items out from the condition; the libraries are handed a
finished bitmap (hnswlib: a Python function, it takes nothing else) free of charge, and are tuned
anew under every filter to the least effort with the wanted recall. Recall is against exact
search among the allowed items.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path as Folder
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.serving.data import SLOTS, SampleItems, make_catalogue, make_users
from benchmarks.serving.graphs import ServedGraph
from benchmarks.serving.peers import kept
from components.index_builder.tuning import neighbours, tune_partitions, tune_scann
from trainer.retrieval.allowed import search_allowed
from trainer.retrieval.filters import Attributes, ItemFilters, RequestedFilters
from trainer.retrieval.search import ExactSearch, load_scann_ops

K = 100
SHARES = (0.5, 0.1, 0.01, 0.001)
_TOPIC = "topics=topic7"
_TUNED_ON = 120
_EFFORTS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

Search = Callable[[np.ndarray], np.ndarray]


class Graph(tf.Module):
    """A searcher with and without a filter."""

    def __init__(self, searcher: Any, filters: ItemFilters) -> None:
        super().__init__(name="filtered_search")
        self.searcher, self.filters = searcher, filters

    def save(self, folder: Folder) -> None:
        """Writes the SavedModel."""
        queries = tf.TensorSpec([None, int(self.searcher.vectors(tf.constant([0])).shape[1])])

        @tf.function(input_signature=[queries])
        def plain(queries: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"rows": self.searcher.search(queries, tf.constant(K))[0]}

        @tf.function(input_signature=[queries, tf.TensorSpec([None], tf.string)])
        def filtered(queries: tf.Tensor, filter: tf.Tensor) -> dict[str, tf.Tensor]:
            nobody = tf.zeros([1, 0], tf.int32)
            groups = self.filters.groups(RequestedFilters(nobody, nobody, filter[None]))
            mask = self.filters.mask(groups, tf.constant(0))
            return {"rows": search_allowed(self.searcher, queries, tf.constant(K), mask)[0]}

        options = tf.saved_model.SaveOptions(namespace_whitelist=["Scann"])
        signatures = {"plain": plain, "filtered": filtered}
        tf.saved_model.save(self, str(folder), signatures=signatures, options=options)


def ours(
    catalogue: SampleItems, part: np.ndarray, queries: np.ndarray, folder: Folder
) -> dict[str, tuple[Search, Callable[[str], Search]]]:
    """Returns the unfiltered search and the search under a condition of each of our indexes."""
    load_scann_ops()
    topics = [[b"topic%d" % topic] for topic in catalogue.topic]
    filters = ItemFilters(len(part), Attributes({"topics": topics}, {"part": part}))
    variable = tf.Variable(catalogue.vectors, trainable=False)
    searchers = {
        "ScaNN": tune_scann(catalogue.vectors, queries, 0.95, K)[0],
        "partitioned (stock ops)": tune_partitions(catalogue.vectors, queries, 0.95)[0],
        "exact (stock ops)": ExactSearch(variable),
    }
    found = {}
    for name, searcher in searchers.items():
        place = folder / name.split()[0]
        Graph(searcher, filters).save(place)
        served = ServedGraph(place)
        plain, filtered = served.call("plain", ["queries"]), served.call("filtered", _FEEDS)
        found[name] = (lambda asked, call=plain: call(asked)[0], _under(filtered))
    return found


_FEEDS = ["queries", "filter"]


def _under(call: Any) -> Callable[[str], Search]:
    def under(condition: str) -> Search:
        texts = np.array([condition.encode()], object)
        return lambda asked: call(asked, texts)[0]

    return under


def faiss_search(index: Any, kind: str, effort: int, mask: np.ndarray | None) -> Search:
    """Returns a search of faiss, among the items of a mask."""
    import faiss

    names = {"nprobe": effort} if kind == "IVF" else {"efSearch": effort}
    if mask is not None:
        bitmap = np.packbits(mask, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bitmap))
        selector.kept = bitmap  # faiss reads it and does not copy it
        names["sel"] = selector
    parameters = getattr(faiss, f"SearchParameters{kind}")(**names)
    parameters.kept = names.get("sel")
    return lambda asked: index.search(asked, K, params=parameters)[1]


def hnswlib_search(index: Any, effort: int, mask: np.ndarray | None) -> Search:
    """Returns a search of hnswlib; rows -1 where it finds fewer than wanted."""
    index.set_ef(max(effort, K))
    allowed = None if mask is None else mask.__getitem__

    def search(asked: np.ndarray) -> np.ndarray:
        try:
            return index.knn_query(asked, k=K, num_threads=1, filter=allowed)[0]
        except RuntimeError:  # it found fewer than k
            return np.full((len(asked), K), -1)

    return search


def peers(
    vectors: np.ndarray, names: list[str], cache: Folder
) -> dict[str, Callable[[int, np.ndarray | None], Search]]:
    """Returns, by name, what makes a search of an effort and a mask."""
    import faiss
    import hnswlib

    from benchmarks.serving.peers import faiss_hnsw, faiss_ivf, hnswlib_hnsw

    found: dict[str, Callable[[int, np.ndarray | None], Search]] = {}
    cache.mkdir(parents=True, exist_ok=True)
    for name, make in (("faiss_ivf", faiss_ivf), ("faiss_hnsw", faiss_hnsw)):
        if name in names:
            title = make(vectors, cache).name
            index = faiss.read_index(kept(cache, name, vectors, _never))
            kind = "IVF" if name == "faiss_ivf" else "HNSW"
            found[title] = lambda effort, mask, i=index, k=kind: faiss_search(i, k, effort, mask)
    if "hnswlib" in names:
        hnswlib_hnsw(vectors, cache)
        graph = hnswlib.Index(space="ip", dim=vectors.shape[1])
        graph.load_index(kept(cache, "hnswlib", vectors, _never))
        found["hnswlib"] = lambda effort, mask: hnswlib_search(graph, effort, mask)
    return found


def _never(path: str) -> None:
    raise SystemExit(f"{path} was not built")


def tuned(
    make: Callable[[int, np.ndarray | None], Search],
    mask: np.ndarray | None,
    queries: np.ndarray,
    truth: np.ndarray,
) -> tuple[Search, str]:
    """Returns the search of the least effort that reaches .95, or the last one tried."""
    search, effort = make(_EFFORTS[0], mask), 0
    for effort in _EFFORTS:
        search = make(effort, mask)
        if recall(search(queries[:SLOTS]), truth[:SLOTS]) < 0.8:  # far off: not worth the rest
            continue
        if recall(search(queries), truth) >= 0.95:
            break
    return search, f"effort {effort}"


def recall(rows: np.ndarray, truth: np.ndarray) -> float:
    """Returns the share of the true rows that were found."""
    hits = sum(len(np.intersect1d(a[a >= 0], b)) for a, b in zip(rows, truth, strict=True))
    return hits / truth.size


def timed(searches: dict[str, Search], users: np.ndarray, rounds: int) -> dict[str, list[float]]:
    """Returns CPU and wall milliseconds of each search, medians over users and rounds in turn."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in searches}
    for _ in range(rounds):
        for name, search in searches.items():
            search(users[0])
            for asked in users:
                wall, cpu = time.perf_counter(), time.process_time()
                search(asked)
                spent[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {
        name: [1e3 * float(v) for v in np.median(found, axis=0)] for name, found in spent.items()
    }


def measured(items: int, arguments: argparse.Namespace) -> Iterator[str]:
    """Yields the lines of the table of a catalogue as they are measured."""
    catalogue = make_catalogue(items, arguments.dim)
    part = np.random.default_rng(3).random(items)
    other = make_users(catalogue, 1000 // SLOTS + 1, seed=2).vectors.reshape(-1, arguments.dim)
    users = make_users(catalogue, arguments.users).vectors
    queries = np.ascontiguousarray(users.reshape(-1, arguments.dim)[:_TUNED_ON])
    yield f"### {items:,} items, 100 neighbours of 12 embeddings\n"
    yield "| filter | allowed | path | tuned to | recall@100 | p50 ms | CPU ms | x unfiltered |"
    yield "|---|---:|---|---|---:|---:|---:|---:|"
    exact = ExactSearch(tf.Variable(catalogue.vectors, trainable=False))
    with TemporaryDirectory() as folder:
        graphs = ours(catalogue, part, other[:1000], Folder(folder))
        makers = peers(catalogue.vectors, arguments.peers, Folder(arguments.cache))
        plain: dict[str, float] = {}
        masks: dict[str, np.ndarray | None] = {"": None}
        masks |= {f"part<={share}": part <= share for share in SHARES}
        masks[_TOPIC] = catalogue.topic == int(_TOPIC.removeprefix("topics=topic"))
        for condition, mask in masks.items():
            truth = _truth(exact, catalogue.vectors, queries, mask)
            searches: dict[str, tuple[Search, str]] = {
                name: (under(condition) if condition else unfiltered, "")
                for name, (unfiltered, under) in graphs.items()
            }
            for name, make in makers.items():
                searches[name] = tuned(make, mask, queries, truth)
            spent = timed({n: s for n, (s, _) in searches.items()}, users, arguments.rounds)
            for name, (search, note) in searches.items():
                cpu, wall = spent[name]
                plain.setdefault(name, cpu)
                allowed = items if mask is None else int(mask.sum())
                yield (
                    f"| {condition or 'none'} | {allowed:,} | {name} | {note} | "
                    f"{recall(search(queries), truth):.3f} | {wall:.2f} | {cpu:.2f} | "
                    f"{cpu / plain[name]:.2f} |"
                )


def _truth(
    exact: ExactSearch, vectors: np.ndarray, queries: np.ndarray, mask: np.ndarray | None
) -> np.ndarray:
    if mask is None:
        return neighbours(exact, queries, K)
    rows = np.flatnonzero(mask)
    among = ExactSearch(tf.Variable(vectors[rows], trainable=False))
    return rows[neighbours(among, queries, min(K, len(rows)))]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--users", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=["faiss_ivf", "faiss_hnsw", "hnswlib"])
    parser.add_argument("--cache", default=".cache/bench-serving", help="keeps built indexes")
    arguments = parser.parse_args()
    for items in arguments.items:
        for line in measured(items, arguments):
            print(line, flush=True)


if __name__ == "__main__":
    main()
