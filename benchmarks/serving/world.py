"""One catalogue with every path that answers from it."""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path as Folder
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.serving.data import HISTORY, SLOTS, make_catalogue, make_users
from benchmarks.serving.graphs import SEARCH, Merging, ServedGraph, Tower, save_staged
from benchmarks.serving.peers import PEERS, Peer, recall
from benchmarks.serving.timing import Path, measure
from components.index_builder.tuning import neighbours, tune_partitions, tune_scann
from trainer.config import RetrievalConfig
from trainer.retrieval import signature
from trainer.retrieval.search import ExactSearch, load_scann_ops

_FEEDS = list(signature.USER_SPECS)
_TUNING_QUERIES = 1000
BATCHES = (1, 32)
_EXACT = "exact (stock ops)"
#: Outputs of the merge that are numbers; strings take longer to hand to Python than to make.
_MERGED = ["score", "slot", "found_by", "count"]


class ServingWorld:
    """Builds, tunes and times."""

    def __init__(self, items: int, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self.folder = Folder(tempfile.mkdtemp(prefix="bench-serving-"))
        self.catalogue = make_catalogue(items, arguments.dim)
        self.users = make_users(self.catalogue, arguments.users)
        self.facts: dict[str, Any] = {"items": items, "results": arguments.results}
        self.paths: list[Path] = []
        self.stages: dict[str, list[Path]] = {}
        self._ids = np.asarray(self.catalogue.ids, object)
        config = RetrievalConfig(
            num_results=arguments.results, max_results=max(1000, arguments.results)
        )
        # The tuning and the timed requests are of different users.
        other = make_users(self.catalogue, -(-_TUNING_QUERIES // SLOTS), seed=2)
        queries = other.vectors.reshape(-1, arguments.dim)[:_TUNING_QUERIES]
        exact = ExactSearch(tf.Variable(self.catalogue.vectors, trainable=False))
        self._truth = neighbours(exact, queries, 100)
        del exact
        self._queries = queries
        tower = Tower(self.users)
        try:
            self._add_retrievers(tower, config)
            self._add_peers(tower, config)
        finally:
            shutil.rmtree(self.folder)

    def _request(self, users: np.ndarray) -> list[np.ndarray]:
        """Returns the feeds of a request, in the order of `_FEEDS`."""
        history = self._ids[self.users.history[users % len(self.users.history)]]
        zeros = np.zeros((len(users), HISTORY), np.int64)
        no_strings = np.full((len(users), HISTORY), b"", object)
        follows = np.full((len(users), 0), b"", object)
        return [users.astype(np.int64), history, zeros, no_strings, follows]

    def _add_retrievers(self, tower: Tower, config: RetrievalConfig) -> None:
        load_scann_ops()
        scann, parameters, reached, _ = tune_scann(
            self.catalogue.vectors,
            self._queries,
            self._arguments.recall,
            config.num_results,
        )
        self.facts["scann"] = parameters._asdict()
        parted, part_recall = tune_partitions(
            self.catalogue.vectors, self._queries, self._arguments.recall
        )
        note_of_parts = f"{parted.probed} of {parted.centres.shape[0]} parts"
        note = f"{parameters.leaves_to_search} of {parameters.num_leaves} leaves"
        kinds = {
            "ScaNN": (lambda _: scann, f"{note}, reorder {parameters.reorder}", reached),
            "partitioned (stock ops)": (lambda _: parted, note_of_parts, part_recall),
            _EXACT: (ExactSearch, "", 1.0),
        }
        for name, (searcher, note, found) in kinds.items():
            folder = self.folder / name.split()[0]
            started = time.perf_counter()
            save_staged(folder, tower, self.catalogue, config, searcher)
            saved = time.perf_counter()
            before = _resident_mb()
            served = ServedGraph(folder)
            call = served.call(signature.RETRIEVE, _FEEDS)
            call(*self._request(np.zeros(1, np.int64)))
            self.facts[name] = {
                "mb": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6,
                "graph_mb": (folder / "saved_model.pb").stat().st_size / 1e6,
                "save_s": saved - started,
                "load_s": time.perf_counter() - saved,
                "resident_mb": _resident_mb() - before,
            }
            run = self._runner(call)
            self.paths.append(Path(name, run, note, found))
            if name == "ScaNN":
                self._add_stages(served, run)

    def _add_stages(self, served: ServedGraph, run: Any) -> None:
        embed = served.call(signature.EMBED_USER, _FEEDS)
        search = served.call(SEARCH, [*_FEEDS, signature.USE_EXPLICIT], ["row", "score"])
        asked = served.call(SEARCH, [*_FEEDS, signature.USE_EXPLICIT], ["k"])
        self._asked = lambda users: int(asked(*self._request(users), np.array([True]))[0][0])
        count = served.call(signature.RETRIEVE, _FEEDS, ["count"])
        everyone = np.arange(len(self.users.vectors))
        self.facts["short_lists"] = int(
            (count(*self._request(everyone))[0] < self._arguments.results).sum()
        )

        def stage(call: Any, *options: np.ndarray) -> Any:
            return lambda users: call(*self._requests(users), *options)

        parts = [
            ("embed", stage(embed)),
            ("implicit search", stage(search, np.array([False]))),
            ("all searches", stage(search, np.array([True]))),
            ("merge", stage(served.call(signature.RETRIEVE, _FEEDS, _MERGED))),
            ("whole request", run),
        ]
        for row, shift in (("12 implicit", 0), ("7 implicit + 5 explicit", len(everyone))):
            self.stages[row] = [
                Path(name, lambda users, run=part, by=shift: run(users + by))
                for name, part in parts
            ]

    def _runner(self, call: Any) -> Any:
        return lambda users: call(*self._requests(users))

    def _requests(self, users: np.ndarray) -> list[np.ndarray]:
        """Returns a request that was made before the clock started."""
        key = (len(users), int(users[0]))
        kept = self.__dict__.setdefault("_kept", {})
        if key not in kept:
            kept[key] = self._request(users)
        return kept[key]

    def _add_peers(self, tower: Tower, config: RetrievalConfig) -> None:
        Merging(tower, self.catalogue, config).save(self.folder / "merge")
        merge = ServedGraph(self.folder / "merge").call(
            signature.RETRIEVE, [*_FEEDS, "rows", "scores"]
        )
        cache = Folder(self._arguments.cache)
        cache.mkdir(parents=True, exist_ok=True)
        depth = max(self._asked(np.array([user])) for user in range(32))
        for name in self._arguments.peers:
            peer = PEERS[name](self.catalogue.vectors, cache)
            peer.tune(self._queries, self._truth, depth, self._arguments.recall)
            note = f"effort {peer.chosen['effort']}"
            self.paths.append(
                Path(peer.name, self._peer_runner(peer, merge), note, peer.chosen["recall"])
            )

    def _peer_runner(self, peer: Peer, merge: Any) -> Any:
        kept: dict[tuple[int, int], tuple[np.ndarray, int]] = {}

        def run(users: np.ndarray) -> Any:
            key = (len(users), int(users[0]))
            if key not in kept:
                vectors = self.users.vectors[users].reshape(-1, self._arguments.dim)
                kept[key] = np.ascontiguousarray(vectors), self._asked(users)
            return merge(*self._requests(users), *peer.search(*kept[key]))

        return run

    def measure(self) -> None:
        """Times everything; the first calls, which prepare requests, are not counted."""
        everyone = np.arange(len(self.users.vectors))
        batches = {size: np.array_split(everyone, len(everyone) // size) for size in BATCHES}
        for requests in batches.values():
            for users in requests:
                for path in self.paths:
                    if path.name != _EXACT:  # prepares nothing of its own, and takes seconds
                        path.run(users)
        measure(self.paths, batches, self._arguments.rounds)
        for parts in self.stages.values():
            for requests in batches.values():
                for users in requests:
                    parts[-1].run(users)
            measure(parts, batches, self._arguments.rounds)

    def figures(self) -> dict[str, Any]:
        """Returns everything measured, as numbers."""

        def numbers(path: Path) -> dict[str, Any]:
            return {
                "name": path.name,
                "note": path.note,
                "recall": path.recall,
                **{
                    f"{kind}_b{size}_p{p}_ms": path.milliseconds(size, p, kind == "cpu")
                    for kind in ("wall", "cpu")
                    for size in BATCHES
                    for p in (50, 99)
                },
            }

        return {
            **self.facts,
            "paths": [numbers(path) for path in self.paths],
            "stages": {row: [numbers(p) for p in parts] for row, parts in self.stages.items()},
        }


def _resident_mb() -> float:
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * resource.getpagesize() / 1e6


__all__ = ["ServingWorld", "recall"]
