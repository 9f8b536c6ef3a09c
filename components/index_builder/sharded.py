"""Several indexes of one catalogue (`index.shards`), and the models of their servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.index_builder.catalogue import Catalogue
from components.index_builder.layout import ROUTER, SHARDS
from components.index_builder.tuning import RECALL_AT, neighbours, recall, tune_scann
from core.errors import ConfigError
from core.files import staged_directory
from trainer.config import RetrievalConfig
from trainer.retrieval.filters import Attributes
from trainer.retrieval.routing import Router, ShardRetriever, save_module
from trainer.retrieval.search import ExactSearch, ScannParameters, Searcher
from trainer.retrieval.sharding import ShardedSearch, shard_of


def by_shard(catalogue: Catalogue, shards: int) -> Catalogue:
    """Returns the catalogue with the items of each shard together, otherwise in order.

    Raises:
      ConfigError: a shard would hold no item.
    """
    shard = shard_of(catalogue.ids, shards)
    sizes = np.bincount(shard, minlength=shards)
    if not sizes.all():
        raise ConfigError(
            f"index.shards is {shards}, but of {len(catalogue.ids)} items none falls into shard "
            f"{int(np.argmin(sizes))}: lower index.shards"
        )
    order = np.argsort(shard, kind="stable")
    return Catalogue(
        ids=_taken(catalogue.ids, order),
        topics=_taken(catalogue.topics, order),
        embeddings=catalogue.embeddings[order],
        values=None if catalogue.values is None else _taken(catalogue.values, order),
        shards=tuple(sizes.tolist()),
    )


def _taken(values: Sequence[Any], order: np.ndarray) -> list[Any]:
    return [values[row] for row in order]


def parts(catalogue: Catalogue) -> Iterator[slice]:
    """Yields the rows of each shard; all of them for one index."""
    sizes = catalogue.shards or (len(catalogue.ids),)
    for size, end in zip(sizes, accumulate(sizes), strict=True):
        yield slice(end - size, end)


def tune_shards(
    catalogue: Catalogue, queries: np.ndarray, target: float, depth: int
) -> tuple[Searcher, list[ScannParameters], float, list[dict[str, Any]]]:
    """Builds an index of each shard that reaches the recall among the shard's items.

    Args:
      catalogue: of `by_shard`, or of one index.
      queries: `[queries, dim]` float32.
      target: wanted share of the 100 exact neighbours in each shard.
      depth: neighbours that requests ask for.

    Returns:
      `(search, parameters, recall, tried)`: of the search of all shards, each shard's, against
      exact search of everything, and one record per attempt.

    Raises:
      IndexQualityError: see `tune_scann`.
    """
    embeddings = catalogue.embeddings
    if not catalogue.shards:
        one, chosen, reached, tried = tune_scann(embeddings, queries, target, depth)
        return one, [chosen], reached, tried
    searches, tuned, attempts = [], [], []
    for number, part in enumerate(parts(catalogue)):
        one, chosen, _, tried = tune_scann(embeddings[part], queries, target, depth)
        searches.append(one)
        tuned.append(chosen)
        attempts += [{"shard": number, **attempt} for attempt in tried]
    search = ShardedSearch(searches, catalogue.shards)
    k = min(RECALL_AT, len(embeddings))
    truth = neighbours(ExactSearch(tf.Variable(embeddings, trainable=False)), queries, k)
    return search, tuned, recall(neighbours(search, queries, k), truth), attempts


def write_shards(
    model: Any,
    catalogue: Catalogue,
    retrieval: RetrievalConfig,
    attributes: Attributes | None,
    search: Searcher | None,
    out: Path,
) -> list[dict[str, Any]]:
    """Writes a SavedModel per shard and the router's.

    Args:
      model: has `embed_user`.
      catalogue: of `by_shard`.
      retrieval: number of results, shares and merge rule.
      attributes: what requests filter by; None for no filters.
      search: of all shards (`tune_shards`); None for exact search.
      out: folder of the index.

    Returns:
      Number of items of each shard, as `index.json` has them.
    """
    for number, part in enumerate(parts(catalogue)):
        searcher: Callable[[tf.Variable], Searcher] = ExactSearch
        if isinstance(search, ShardedSearch):
            searcher = partial(_ready, search.shards[number])
        shard = ShardRetriever(
            catalogue.ids[part],
            catalogue.topics[part],
            catalogue.embeddings[part],
            retrieval,
            searcher=searcher,
            attributes=None if attributes is None else _of_rows(attributes, part),
        )
        with staged_directory(out / SHARDS / str(number)) as staging:
            save_module(shard, str(staging))
    with staged_directory(out / ROUTER) as staging:
        save_module(Router(model, retrieval, attributes is not None), str(staging))
    return [{"items": size} for size in catalogue.shards]


def _ready(searcher: Searcher, vectors: tf.Variable) -> Searcher:
    del vectors  # it has its own
    return searcher


def _of_rows(attributes: Attributes, part: slice) -> Attributes:
    return Attributes(
        {name: values[part] for name, values in attributes.texts.items()},
        {name: values[part] for name, values in attributes.numbers.items()},
    )
