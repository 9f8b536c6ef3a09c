"""Neighbours of the items, learned from what the training and validation splits hold."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import sparse

from components.config import EASE_MAX_ITEMS
from components.evaluator import metrics
from components.evaluator.examples import EvalExamples, read_eval_examples
from components.evaluator.items import Items
from components.evaluator.learned_floors import ease, rp3beta, strongest
from components.evaluator.training_log import TrainingLog, read_training_log
from components.examples_io import split_files
from components.index_builder.catalogue import Catalogue
from components.index_builder.neighbour_file import read_neighbours, table_of, write_neighbours
from components.requests import user_request
from core.errors import DataError
from core.progress import track
from trainer import features
from trainer.config import RetrievalConfig
from trainer.retrieval.neighbours import Neighbours, NeighbourTable
from trainer.retrieval.search import ExactSearch
from trainer.retrieval.selection import SearchedSlots, Selector
from trainer.retrieval.topic_filter import TopicFilter

_LOG = logging.getLogger("tessera")
#: Weights that are tried, as scores lie between -1 and 1.
WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2)
#: Neighbours of all items together (8 bytes each in memory), at least `_LEAST` of each.
_ENTRIES_MAX, _LEAST = 20_000_000, 10
#: Validation questions that the weights are tried on; of large catalogues fewer.
_QUESTIONS_MAX, _QUESTIONS_MIN, _CELLS_MAX = 3000, 500, 500_000_000
_BATCH, _SEED, _KS = 128, 1, (10, 50, 100)
#: Standard errors by which neighbours must be better than none.
_CLEARLY = 2.0
_BLOCK_ITEMS = 2048


def item_neighbours(
    model: Any,
    catalogue: Catalogue,
    examples_uri: str,
    published: str | None,
    retrieval: RetrievalConfig,
    path: Path,
) -> tuple[NeighbourTable | None, dict[str, Any]]:
    """Learns the neighbours, or takes over published ones, and writes them beside the index.

    Their weight is chosen with what was learned from training examples alone; those that are
    served then learn from validation examples as well.

    Args:
      model: has `embed_user`; one that knows no validation example.
      catalogue: the items, with that model's vectors.
      examples_uri: raw examples.
      published: file of the published bundle for a refresh, which has no events; else None.
      retrieval: says whether, how many and with what weight.
      path: where they are written; a file of an attempt that was killed goes.

    Returns:
      The table, None for a retriever without neighbours, and what `index.json` says of it.
    """
    path.unlink(missing_ok=True)
    if retrieval.neighbours == "off":
        return None, {}
    if published is not None:
        if not Path(published).is_file():
            return None, {"neighbours": {"weight": 0.0}}
        table = read_neighbours(Path(published), catalogue.ids)
        matrix = sparse.csr_matrix(
            (table.values, table.rows, table.starts), shape=(len(catalogue.ids),) * 2
        )
        write_neighbours(catalogue.ids, matrix, table.weight, path)
        return table, {"neighbours": {"weight": table.weight, "entries": len(table.rows)}}
    items = Items(catalogue.ids, catalogue.topics)
    most = min(retrieval.neighbours_per_item, max(_LEAST, _ENTRIES_MAX // len(items)))
    weight = retrieval.neighbour_weight
    tried: list[dict[str, float]] = []
    if weight is None:
        log = read_training_log(examples_uri, items, validation=False)
        matrix = learned(log, len(items), most, retrieval.neighbours)
        weight, tried = choose_weight(model, examples_uri, catalogue, items, retrieval, matrix)
    if not weight:
        _LOG.info("no neighbours of items: they do not pay, or their weight is 0")
        return None, {"neighbours": {"weight": weight, "entries": 0, "tried": tried}}
    log = read_training_log(examples_uri, items)
    matrix = learned(log, len(items), most, retrieval.neighbours)
    found = {"neighbours": {"weight": weight, "entries": matrix.nnz, "tried": tried}}
    _LOG.info("%s neighbours of items, weight %g", f"{matrix.nnz:,}", weight)
    if not matrix.nnz:
        return None, found
    write_neighbours(catalogue.ids, matrix, weight, path)
    return table_of(matrix, weight), found


def learned(log: TrainingLog, items: int, most: int, kind: str) -> sparse.csr_matrix:
    """Returns the strongest neighbours of each item, `[items, items]` CSR float32 > 0.

    Args:
      log: what is known.
      items: number of items.
      most: neighbours of each.
      kind: `rp3beta` or `ease`.
    """
    if kind == "ease" and items > EASE_MAX_ITEMS:
        _LOG.warning(
            "retrieval.neighbours is ease, which is for up to %s items, not %s: rp3beta",
            f"{EASE_MAX_ITEMS:,}",
            f"{items:,}",
        )
    elif kind == "ease" and len(log.item):
        weights = ease(log, items)
        blocks = [
            strongest(sparse.csr_matrix(np.maximum(weights[i : i + _BLOCK_ITEMS], 0.0)), i, most)
            for i in range(0, items, _BLOCK_ITEMS)
        ]
        return sparse.vstack(blocks, format="csr")
    return rp3beta(log, items, most)


def choose_weight(
    model: Any,
    examples_uri: str,
    catalogue: Catalogue,
    items: Items,
    retrieval: RetrievalConfig,
    matrix: sparse.csr_matrix,
) -> tuple[float, list[dict[str, float]]]:
    """Tries weights on validation examples.

    Returns:
      The weight with the best mean recall (over several list lengths), 0 unless that is clearly
      better than without neighbours, and the recalls of each.
    """
    try:
        split_files(examples_uri, features.VALIDATION_SPLIT)
    except DataError:
        _LOG.warning("no validation examples to choose retrieval.neighbour_weight by: 0")
        return 0.0, []
    cells = _CELLS_MAX // max(1, len(items))
    count = int(np.clip(cells, _QUESTIONS_MIN, _QUESTIONS_MAX))
    asked = read_eval_examples(examples_uri, items, count, _SEED, split=features.VALIDATION_SPLIT)
    ks = [k for k in _KS if k <= retrieval.num_results] or [retrieval.num_results]
    lists = _lists(model, catalogue, items, retrieval, matrix, asked)
    hits, tried = [], []
    for weight, found in zip(WEIGHTS, lists, strict=True):
        values = metrics.per_example(metrics.target_ranks(found, asked.target), ks)
        recalls = {f"recall@{k}": values[f"recall@{k}"] for k in ks}
        hits.append(np.mean(list(recalls.values()), axis=0))
        tried.append({"weight": weight, **{n: float(v.mean()) for n, v in recalls.items()}})
    best = int(np.argmax([part.mean() for part in hits]))
    gain = hits[best] - hits[0]
    clear = gain.mean() > _CLEARLY * gain.std() / np.sqrt(max(1, len(gain)))
    return (WEIGHTS[best] if clear else 0.0), tried


def _lists(
    model: Any,
    catalogue: Catalogue,
    items: Items,
    retrieval: RetrievalConfig,
    matrix: sparse.csr_matrix,
    asked: EvalExamples,
) -> list[np.ndarray]:
    """Returns the merged item rows of each weight, `[examples, num_results]`."""
    vectors = tf.Variable(catalogue.embeddings, trainable=False)
    within = TopicFilter(vectors, catalogue.topics) if retrieval.topic_filter else None
    neighbours = Neighbours(table_of(matrix, 0.0))
    selector = Selector(retrieval, ExactSearch(vectors), within, neighbours=neighbours)
    parts: list[list[np.ndarray]] = [[] for _ in WEIGHTS]
    with track("weighing the neighbours", len(asked)) as bar:
        for batch in asked.batches(_BATCH):
            wanted = searched_slots(model.embed_user, user_request(batch), items, retrieval)
            found = selector.candidates(wanted, wanted.limit)
            for part, neighbours.weight in zip(parts, WEIGHTS, strict=True):
                part.append(selector.merged(wanted, *found).row.numpy())
            bar.advance(batch.num_rows)
    empty = np.zeros((0, retrieval.num_results), np.int32)
    return [np.concatenate([*part, empty]) for part in parts]


def searched_slots(
    embed: Any, request: dict[str, np.ndarray], items: Items, retrieval: RetrievalConfig
) -> SearchedSlots:
    """Returns what a retriever would search for.

    Args:
      embed: `embed_user` of a model or an index.
      request: see `user_request`.
      items: the catalogue.
      retrieval: rules of the retriever.
    """
    slots = embed(**{name: tf.constant(value) for name, value in request.items()})
    finite = tf.reduce_all(tf.math.is_finite(slots["embeddings"]), axis=2)
    history = np.maximum(items.rows(request[features.HISTORY_ITEM_ID]), -1)
    return SearchedSlots(
        vectors=slots["embeddings"],
        topic=slots["slot_topic"],
        kind=slots["slot_kind"],
        mass=slots["mass"],
        valid=slots["slot_valid"] & finite,
        seen=tf.constant(history if retrieval.exclude_seen else np.full_like(history, -1)),
        limit=tf.fill([len(history)], retrieval.num_results),
        sources=tf.where(slots["history_slot"] >= 0, tf.constant(history), -1),
    )
