"""The work of the IndexBuilder, free of TFX."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from components.config import IndexConfig
from components.index_builder.alignment import check_alignment
from components.index_builder.attributes import (
    attributes_table,
    filter_attributes,
    newest,
    write_attributes_file,
)
from components.index_builder.catalogue import Catalogue, embed_catalogue
from components.index_builder.layout import (
    ATTRIBUTES_FILE,
    EMBEDDINGS_FILE,
    INDEX_FILE,
    ITEMS_FILE,
    NATIVE_INDEX,
    NEIGHBOURS_FILE,
    RETRIEVER,
    ROUTER,
    SCANN_RETRIEVER,
    SHARDS,
)
from components.index_builder.native import write_native
from components.index_builder.neighbours import item_neighbours
from components.index_builder.queries import query_embeddings
from components.index_builder.sharded import by_shard, parts, tune_shards, write_shards
from components.index_builder.tuning import SCANN_MIN_ITEMS, tune_partitions
from core.files import staged_directory, staged_file, write_json
from trainer.config import RetrievalConfig
from trainer.retrieval.delta import DELTA_ASSET, no_items, write_delta
from trainer.retrieval.filters import Attributes
from trainer.retrieval.neighbours import NeighbourTable
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.search import ExactSearch, Searcher

#: Writes a retriever to a folder, over the whole catalogue or over an index.
Write = Callable[..., None]

_LOG = logging.getLogger("tessera")
#: Query embeddings that the recall is measured on.
_RECALL_QUERIES = 500


@dataclass(frozen=True)
class IndexPaths:
    """Where the IndexBuilder reads and writes.

    Attributes:
      model: the exported SavedModel.
      examples: raw examples.
      index: output folder.
      neighbours: of a refresh, the published neighbours of items (there may be none); None:
        learned from the examples.
      before_refit: where there may be the model that validation chose, if the exported one
        learned from validation examples as well: what validation decides is asked of that one.
      refit: of a refresh, whether the published model learned from validation examples.
    """

    model: str
    examples: str
    index: str
    neighbours: str | None = None
    before_refit: str | None = None
    refit: bool = False


def choose_kind(config: IndexConfig, items: int) -> str:
    """Returns `exact` or `scann`; a catalogue too small for ScaNN is searched exactly."""
    if config.kind == "auto":
        return "scann" if items >= config.scann_min_items else "exact"
    if config.kind == "scann" and items < SCANN_MIN_ITEMS:
        _LOG.warning(
            "index.kind is scann, but %d items are fewer than the %d it needs: exact search",
            items,
            SCANN_MIN_ITEMS,
        )
        return "exact"
    return config.kind


def build_index(
    paths: IndexPaths, config: IndexConfig, retrieval: RetrievalConfig
) -> dict[str, Any]:
    """Embeds the catalogue, builds the index and writes the served retrievers.

    Returns:
      What `index.json` holds.

    Raises:
      IndexQualityError: see `catalogue.check_catalogue`, `check_alignment`, `tune_scann`.
    """
    started = time.perf_counter()
    model = tf.saved_model.load(paths.model)
    catalogue = embed_catalogue(model, paths.examples, config.batch_size)
    checked = check_alignment(model, catalogue)
    out = Path(paths.index)
    for leftover in (RETRIEVER, SCANN_RETRIEVER, NATIVE_INDEX, SHARDS, ROUTER):
        shutil.rmtree(out / leftover, ignore_errors=True)  # of an attempt that was killed
    if config.shards > 1:
        catalogue = by_shard(catalogue, config.shards)
    kind = choose_kind(config, min(catalogue.shards, default=len(catalogue.ids)))
    summary = _described(catalogue, kind, checked, retrieval)
    _write_items(catalogue, out)
    table = attributes_table(paths.examples, catalogue, retrieval)
    write_attributes_file(table, out / ATTRIBUTES_FILE)
    attributes = filter_attributes(table, catalogue, retrieval)
    new = newest(table, catalogue, retrieval)
    near, said = _neighbours(model, catalogue, paths, config, retrieval)
    summary.update(said)
    write = partial(_write_retriever, model, catalogue, retrieval, attributes, new, near)
    search = None
    if kind == "scann":
        search, found = _add_scann(model, catalogue, paths, config, retrieval, write)
        summary.update(found)
    else:
        write(out / RETRIEVER)
    if catalogue.shards:
        summary["shards"] = write_shards(model, catalogue, retrieval, attributes, search, out)
    summary["build_s"] = round(time.perf_counter() - started, 3)
    summary["bytes"] = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    write_json(out / INDEX_FILE, summary)
    _LOG.info(
        "%s items, %s index, recall@100 against exact %.4f, %.1f MB",
        f"{summary['items']:,}",
        kind,
        summary["recall_vs_exact"],
        summary["bytes"] / 1e6,
    )
    return summary


def _neighbours(
    model: Any,
    catalogue: Catalogue,
    paths: IndexPaths,
    config: IndexConfig,
    retrieval: RetrievalConfig,
) -> tuple[NeighbourTable | None, dict[str, Any]]:
    """Returns the neighbours that are served, and what `index.json` says of them and of a refit.

    The model before a refit and its vectors are let go of before anything is built.
    """
    refit = paths.before_refit if paths.before_refit and Path(paths.before_refit).is_dir() else None
    if refit and retrieval.weighs_neighbours:
        model = tf.saved_model.load(refit)
        found = embed_catalogue(model, paths.examples, config.batch_size)
        catalogue = by_shard(found, config.shards) if catalogue.shards else found
    file = Path(paths.index) / NEIGHBOURS_FILE
    given = paths.examples, paths.neighbours
    near, said = item_neighbours(model, catalogue, *given, retrieval, file)
    return near, {"refit": paths.refit if refit is None else True, **said}


def _described(
    catalogue: Catalogue, kind: str, checked: int, retrieval: RetrievalConfig
) -> dict[str, Any]:
    """Returns what `index.json` says of exact search."""
    return {
        "kind": kind,
        "serve": SCANN_RETRIEVER if kind == "scann" else RETRIEVER,
        "items": len(catalogue.ids),
        "dim": int(catalogue.embeddings.shape[1]),
        "topics": len({topic for topics in catalogue.topics for topic in topics}),
        "aligned_items_checked": checked,
        "recall_vs_exact": 1.0,
        "recall_queries": 0,
        "parameters": {},
        "tried": [],
        "stock": {"kind": "exact", "recall_vs_exact": 1.0},
        "retrieval": retrieval.model_dump(mode="json"),
    }


def _add_scann(
    model: Any,
    catalogue: Catalogue,
    paths: IndexPaths,
    config: IndexConfig,
    retrieval: RetrievalConfig,
    write: Write,
) -> tuple[Searcher, dict[str, Any]]:
    queries = query_embeddings(
        model, paths.examples, _RECALL_QUERIES, implicit_only=retrieval.topic_filter
    )
    source = "users"
    if not len(queries):
        queries, source = catalogue.embeddings[:_RECALL_QUERIES], "items"
    search, tuned, reached, tried = tune_shards(
        catalogue, queries, config.recall_target, retrieval.num_results
    )
    out = Path(paths.index)
    write(out / SCANN_RETRIEVER, lambda _: search)
    for number, (part, parameters) in enumerate(zip(parts(catalogue), tuned, strict=True)):
        native = out / NATIVE_INDEX / str(number) if catalogue.shards else out / NATIVE_INDEX
        write_native(catalogue.embeddings[part], parameters, native)
    return search, {
        "stock": _write_stock(catalogue, queries, config, write, out / RETRIEVER),
        "recall_vs_exact": reached,
        "recall_queries": len(queries),
        "recall_query_source": source,
        "parameters": {} if catalogue.shards else tuned[0]._asdict(),
        "tried": tried,
    }


def _write_stock(
    catalogue: Catalogue,
    queries: np.ndarray,
    config: IndexConfig,
    write: Write,
    folder: Path,
) -> dict[str, Any]:
    """Writes the retriever with stock operations beside a ScaNN one; returns how it searches."""
    if len(catalogue.ids) < config.partition_min_items:
        write(folder)
        return {"kind": "exact", "recall_vs_exact": 1.0}
    search, reached = tune_partitions(catalogue.embeddings, queries, config.recall_target)
    write(folder, lambda _: search)
    return {
        "kind": "partitioned",
        "recall_vs_exact": reached,
        "parts": int(search.centres.shape[0]),
        "probed": search.probed,
    }


def _write_retriever(
    model: Any,
    catalogue: Catalogue,
    retrieval: RetrievalConfig,
    attributes: Attributes | None,
    new: np.ndarray | None,
    neighbours: NeighbourTable | None,
    folder: Path,
    searcher: Callable[[tf.Variable], Searcher] = ExactSearch,
) -> None:
    with staged_directory(folder) as staging, TemporaryDirectory() as room:
        delta = Path(room) / DELTA_ASSET
        if retrieval.delta:
            columns = retrieval.filter_columns()
            write_delta(no_items(catalogue.embeddings.shape[1], columns), columns, delta)
        retriever = Retriever(
            model,
            catalogue.ids,
            catalogue.topics,
            catalogue.embeddings,
            retrieval,
            searcher=searcher,
            attributes=attributes,
            newest=new,
            delta=str(delta) if retrieval.delta else None,
            neighbours=neighbours,
        )
        save_retriever(retriever, str(staging))


def _write_items(catalogue: Catalogue, out: Path) -> None:
    texts = pa.list_(pa.string())
    columns = {
        "item_id": pa.array(catalogue.ids, pa.binary()).cast(pa.string()),
        "topics": pa.array(catalogue.topics, pa.list_(pa.binary())).cast(texts),
    }
    if catalogue.values is not None:
        columns["features"] = pa.array(catalogue.values, pa.list_(pa.binary())).cast(texts)
    table = pa.table(columns)
    with staged_file(out / ITEMS_FILE) as staging:
        pq.write_table(table, staging)
    with staged_file(out / EMBEDDINGS_FILE) as staging, open(staging, "wb") as stream:
        np.save(stream, catalogue.embeddings)
