"""What each way of merging the slots costs in recall and brings in topics.

The same model and the same candidates, merged by every rule: a point of the curve is what
the index would serve with that setting.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from scipy import sparse

from components.evaluator import metrics
from components.evaluator.examples import EvalExamples
from components.evaluator.items import Items
from components.index_builder.layout import EMBEDDINGS_FILE, ITEMS_FILE, NEIGHBOURS_FILE
from components.index_builder.neighbour_file import read_neighbours
from components.index_builder.neighbours import searched_slots
from components.requests import user_request
from core.progress import track
from trainer import features
from trainer.config import RetrievalConfig
from trainer.retrieval.neighbours import Neighbours
from trainer.retrieval.search import ExactSearch
from trainer.retrieval.selection import Selector
from trainer.retrieval.topic_filter import TopicFilter

#: Values of `balance` that are drawn, beside the served one.
BALANCES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
#: Values of `agreement` that are drawn with the served merge, beside the served one.
AGREEMENTS = (0.0, 0.05, 0.1, 0.15, 0.2)
#: Questions asked; of large catalogues fewer, so that the curve costs seconds.
_QUESTIONS_MAX, _QUESTIONS_MIN = 1000, 100
_CELLS_MAX = 50_000_000
_SEED = 1


def settings(served: RetrievalConfig) -> list[RetrievalConfig]:
    """Returns the merges of the curve, from score alone to round robin."""
    balances = set(BALANCES)
    if served.merge == "balanced" and served.balance > 0.0:
        balances.add(served.balance)
    rules: list[dict[str, Any]] = [{"merge": "score"}]
    rules += [{"merge": "balanced", "balance": balance} for balance in sorted(balances)]
    if served.merge != "round_robin":
        further = sorted({*AGREEMENTS} - {served.agreement})
        rules += [{"agreement": agreement} for agreement in further]
    rules.append({"merge": "round_robin"})
    return [served.model_copy(update=rule) for rule in rules]


def merge_curve(
    index: Path,
    embed: Callable[..., dict[str, tf.Tensor]],
    served: RetrievalConfig,
    examples: EvalExamples,
    items: Items,
    ks: tuple[int, ...],
    batch_size: int,
) -> list[dict[str, Any]]:
    """Measures every setting on a random part of the questions.

    Args:
      index: folder of the RetrievalIndex.
      embed: its `embed_user` signature.
      served: how the index merges.
      examples: what is asked.
      items: the catalogue.
      ks: cut-offs of recall, none above `served.num_results`.
      batch_size: examples per request.

    Returns:
      A point per setting: `merge`, `balance`, `agreement`, `served` (bool), `n`, `recall@k` by k,
      `topic_entropy@50` and `topics_covered` (share of a user's followed topics, of those
      that items carry, with a result; None where nobody follows any). Nothing for a model
      with one slot, where every merge is the same.
    """
    cells = _CELLS_MAX // max(1, len(items))
    asked = examples.sample(int(np.clip(cells, _QUESTIONS_MIN, _QUESTIONS_MAX)), _SEED)
    rules = settings(served)
    parts: list[list[np.ndarray]] = [[] for _ in rules]
    follows: list[sparse.csr_matrix] = []
    selectors = _selectors(index, rules, items)
    with track("merging in every way", len(asked)) as bar:
        for batch in asked.batches(batch_size):
            request = user_request(batch)
            wanted = searched_slots(embed, request, items, served)
            if wanted.valid.shape[1] < 2:
                return []
            found = selectors[0].candidates(wanted, wanted.limit)
            for part, selector in zip(parts, selectors, strict=True):
                part.append(selector.merged(wanted, *found).row.numpy())
            follows.append(items.followed(request[features.FOLLOWED_TOPIC]))
            bar.advance(batch.num_rows)
    if not follows:
        return []
    followed = sparse.vstack(follows, format="csr")
    return [
        _point(rule, rule == served, np.concatenate(part), asked.target, followed, items, ks)
        for rule, part in zip(rules, parts, strict=True)
    ]


def _selectors(index: Path, rules: list[RetrievalConfig], items: Items) -> list[Selector]:
    topics = pq.read_table(index / ITEMS_FILE, columns=["topics"])["topics"]
    names = topics.cast(pa.list_(pa.binary())).to_pylist()
    vectors = tf.Variable(np.load(index / EMBEDDINGS_FILE).astype(np.float32), trainable=False)
    search = ExactSearch(vectors)
    within = TopicFilter(vectors, names) if rules[0].topic_filter else None
    path = index / NEIGHBOURS_FILE
    near = Neighbours(read_neighbours(path, items.ids)) if path.is_file() else None
    return [Selector(rule, search, within, neighbours=near) for rule in rules]


def _point(
    rule: RetrievalConfig,
    served: bool,
    lists: np.ndarray,
    targets: np.ndarray,
    followed: sparse.csr_matrix,
    items: Items,
    ks: tuple[int, ...],
) -> dict[str, Any]:
    ranks = metrics.target_ranks(lists, targets)
    return {
        "merge": rule.merge,
        "balance": rule.balance if rule.merge == "balanced" else None,
        "agreement": rule.agreement if rule.merge != "round_robin" else None,
        "served": served,
        "n": len(lists),
        **{f"recall@{k}": float(((ranks > 0) & (ranks <= k)).mean()) for k in ks},
        f"topic_entropy@{metrics.TOPICS_AT}": metrics.topic_entropy(lists, items.topics),
        "topics_covered": topics_covered(lists, followed, items.topics),
    }


def topics_covered(
    lists: np.ndarray, followed: sparse.csr_matrix, topics: sparse.csr_matrix
) -> float | None:
    """Returns the mean share of a user's followed topics with a result; None without follows.

    Args:
      lists: `[users, results]` int item rows, below 0 ignored.
      followed: `[users, topics]` CSR of ones.
      topics: `[items, topics]` CSR of ones.
    """
    wanted = np.asarray(followed.sum(axis=1)).ravel()
    if not wanted.any():
        return None
    present = metrics.topic_weights(lists, topics, lists.shape[1]) > 0
    met = np.asarray(followed.multiply(present).sum(axis=1)).ravel()
    return float((met[wanted > 0] / wanted[wanted > 0]).mean())
