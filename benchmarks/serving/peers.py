"""Nearest-neighbour libraries: built once, kept in a folder, tuned to the same recall."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Answer = tuple[np.ndarray, np.ndarray]


@dataclass
class Peer:
    """One index of a library.

    Attributes:
      name: shown in the tables.
      search: `(queries, k)` to `(rows, scores)`, best first, one thread.
      set_effort: sets the parameter that trades speed for recall.
      efforts: values of that parameter, cheapest first.
      build_s: seconds of building or, where kept, of reading.
      chosen: what `tune` found.
    """

    name: str
    search: Callable[[np.ndarray, int], Answer]
    set_effort: Callable[[Any], None]
    efforts: tuple[Any, ...]
    build_s: float
    chosen: dict[str, Any] = field(default_factory=dict)

    def tune(self, queries: np.ndarray, truth: np.ndarray, k: int, target: float) -> None:
        """Takes the least effort whose recall, among `k` asked, reaches the target."""
        for effort in self.efforts:
            self.set_effort(effort)
            rows, _ = self.search(queries, k)
            reached = recall(rows, truth)
            self.chosen = {"effort": effort, "recall": reached}
            if reached >= target:
                return
        raise SystemExit(f"{self.name} reaches recall {reached:.3f} only, not {target}")


def recall(rows: np.ndarray, truth: np.ndarray) -> float:
    """Returns the share of the true rows among the first as many that were found."""
    k = truth.shape[1]
    hits = sum(len(np.intersect1d(a[:k], b)) for a, b in zip(rows, truth, strict=True))
    return hits / truth.size


def kept(cache: Path, kind: str, vectors: np.ndarray, write: Callable[[str], None]) -> str:
    """Returns the file of an index over these very vectors, written if there is none yet.

    Args:
      cache: folder.
      kind: of the index.
      vectors: `[items, dim]`.
      write: builds the index and writes it to a path.
    """
    digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()[:12]
    path = cache / f"{kind}_{len(vectors)}_{digest}"
    if not path.exists():
        unfinished = path.with_suffix(".part")
        write(str(unfinished))
        os.replace(unfinished, path)
    return str(path)


def faiss_ivf(vectors: np.ndarray, cache: Path) -> Peer:
    """Inverted lists with whole vectors."""
    import faiss

    faiss.omp_set_num_threads(1)
    lists = max(64, int(len(vectors) ** 0.5))

    def write(path: str) -> None:
        quantizer = faiss.IndexFlatIP(vectors.shape[1])
        index = faiss.IndexIVFFlat(quantizer, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:: max(1, len(vectors) // (64 * lists))])
        index.add(vectors)
        faiss.write_index(index, path)

    started = time.perf_counter()
    index = faiss.read_index(kept(cache, "faiss_ivf", vectors, write))

    def set_effort(effort: int) -> None:
        index.nprobe = effort

    def search(queries: np.ndarray, k: int) -> Answer:
        scores, rows = index.search(queries, k)
        return rows.astype(np.int32), scores

    efforts = tuple(e for e in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256) if e <= lists)
    return Peer(f"faiss IVF{lists}", search, set_effort, efforts, time.perf_counter() - started)


#: Codes that are read in the time that rescoring as many candidates as are asked for takes.
_CODES_A_RESCORING = 25_000


def faiss_ivfpq(vectors: np.ndarray, cache: Path) -> Peer:
    """Inverted lists with 4-bit codes of two dimensions each, looked up in registers.

    Codes encode the residual, the vector less its list's centre; an effort is the number of lists
    searched and how many times as many candidates as are asked for are rescored with whole vectors.
    https://github.com/facebookresearch/faiss/wiki/Fast-accumulation-of-PQ-and-AQ-codes-(FastScan)
    """
    import faiss

    faiss.omp_set_num_threads(1)
    dim = vectors.shape[1]
    lists = max(64, int(len(vectors) ** 0.5))

    def write(path: str) -> None:
        kind = f"IVF{lists},PQ{dim // 2}x4fsr,RFlat"
        index = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:: max(1, len(vectors) // (64 * lists))])
        index.add(vectors)
        faiss.write_index(index, path)

    started = time.perf_counter()
    index = faiss.read_index(kept(cache, "faiss_ivfpq_residual", vectors, write))
    lists_of = faiss.extract_index_ivf(faiss.downcast_index(index.base_index))

    def set_effort(effort: tuple[int, int]) -> None:
        lists_of.nprobe, index.k_factor = effort

    def search(queries: np.ndarray, k: int) -> Answer:
        scores, rows = index.search(queries, k)
        return rows.astype(np.int32), scores

    probes = [probe for probe in (2, 4, 8, 12, 16, 24, 32, 48, 64, 128, 256) if probe <= lists]
    codes = len(vectors) / lists  # of a list
    efforts = sorted(
        ((probe, factor) for probe in probes for factor in (1, 2, 4, 8)),
        key=lambda effort: effort[0] * codes + effort[1] * _CODES_A_RESCORING,
    )
    name = f"faiss IVF{lists} PQ{dim // 2}x4fsr"
    return Peer(name, search, set_effort, tuple(efforts), time.perf_counter() - started)


_EF = (50, 75, 100, 150, 200, 300, 400, 600, 800, 1200)


def faiss_hnsw(vectors: np.ndarray, cache: Path) -> Peer:
    """Navigable small world graph of faiss, 16 links."""
    import faiss

    faiss.omp_set_num_threads(1)

    def write(path: str) -> None:
        index = faiss.IndexHNSWFlat(vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 100
        index.add(vectors)
        faiss.write_index(index, path)

    started = time.perf_counter()
    index = faiss.read_index(kept(cache, "faiss_hnsw", vectors, write))

    def set_effort(effort: int) -> None:
        index.hnsw.efSearch = effort

    def search(queries: np.ndarray, k: int) -> Answer:
        scores, rows = index.search(queries, k)
        return rows.astype(np.int32), scores

    return Peer("faiss HNSW16", search, set_effort, _EF, time.perf_counter() - started)


def hnswlib_hnsw(vectors: np.ndarray, cache: Path) -> Peer:
    """Navigable small world graph of hnswlib, 16 links."""
    import hnswlib

    def write(path: str) -> None:
        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), ef_construction=100, M=16, random_seed=0)
        index.add_items(vectors, num_threads=1)
        index.save_index(path)

    started = time.perf_counter()
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.load_index(kept(cache, "hnswlib", vectors, write))
    index.set_num_threads(1)

    def search(queries: np.ndarray, k: int) -> Answer:
        rows, distances = index.knn_query(queries, k=k, num_threads=1)
        return rows.astype(np.int32), 1.0 - distances

    # hnswlib refuses an effort below the number of neighbours asked for.
    def set_effort(effort: int) -> None:
        index.set_ef(effort)

    return Peer("hnswlib", search, set_effort, _EF, time.perf_counter() - started)


def svs_vamana(vectors: np.ndarray, cache: Path) -> Peer:
    """Vamana graph of SVS, 32 links; needs `pip install scalable-vs`, whose wheel is not free.

    Built anew each time: SVS reads an index from three folders.
    """
    import svs

    del cache
    started = time.perf_counter()
    settings = svs.VamanaBuildParameters(graph_max_degree=32, window_size=100, alpha=0.95)
    index = svs.Vamana.build(settings, vectors, svs.DistanceType.MIP, num_threads=os.cpu_count())
    index.num_threads = 1

    def set_effort(effort: int) -> None:
        index.search_window_size = effort

    def search(queries: np.ndarray, k: int) -> Answer:
        rows, scores = index.search(queries, k)
        return rows.astype(np.int32), scores

    return Peer("SVS Vamana32", search, set_effort, _EF[2:], time.perf_counter() - started)


PEERS = {
    "faiss_ivf": faiss_ivf,
    "faiss_ivfpq": faiss_ivfpq,
    "faiss_hnsw": faiss_hnsw,
    "hnswlib": hnswlib_hnsw,
    "svs": svs_vamana,
}
