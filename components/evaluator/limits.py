"""What can be reached on generated data, whose truth lies beside the tables.

No floor and no gate: a limit says how much of what a model misses was chance. Both rank by the
rule that drew the engagements; they differ in what they know.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from components.evaluator.examples import EvalExamples
from components.evaluator.items import Items, indicators
from components.evaluator.learned_floors import user_items
from components.evaluator.ranking import rank_dense
from components.evaluator.training_log import TrainingLog
from components.examples_io import padded
from components.requests import user_request
from input_tables.generate.events import SEARCH, SOURCE_SHARE, TOPIC_FEED
from input_tables.generate.world import SEARCH_FLATTENING
from trainer import features

#: Engagements that `feasible` adds to every item, so that new ones have a chance.
_PRIOR = 0.3
_USERS, _ITEMS = "users.parquet", "items.parquet"


@dataclass(frozen=True)
class Truth:
    """What generated the engagements.

    Attributes:
      interests: `[users, interests]` CSR, true weights of each user.
      users: row of `interests` by user id.
      of_item: `[items, interests]` CSR of ones, the interest of each item.
      weight: `[items]` float64, true popularity of each item.
    """

    interests: sparse.csr_matrix
    users: pd.Index
    of_item: sparse.csr_matrix
    weight: np.ndarray


def read_truth(folder: str, items: Items) -> Truth | None:
    """Reads `truth/` of generated tables; None where there is none with items' weights."""
    root = Path(folder) if folder else None
    if root is None or not (root / _USERS).is_file() or not (root / _ITEMS).is_file():
        return None
    known = pd.read_parquet(root / _ITEMS)
    if "weight" not in known.columns:  # of tables that an earlier version generated
        return None
    users = pd.read_parquet(root / _USERS)
    number, names = pd.factorize(users["user_id"])
    width = int(max(known["interest"].max(), users["interest"].max())) + 1
    row = items.rows(np.array([name.encode() for name in known["item_id"]], object))
    listed = row >= 0
    weight = np.zeros(len(items))
    weight[row[listed]] = known["weight"][listed]
    interest = np.full(len(items), -1, np.int64)
    interest[row[listed]] = known["interest"][listed]
    return Truth(
        interests=sparse.csr_matrix(
            (users["weight"], (number, users["interest"])), shape=(len(names), width)
        ),
        users=pd.Index([name.encode() for name in names]),
        of_item=indicators(interest[:, None], width),
        weight=weight,
    )


def rank_limits(
    truth: Truth,
    log: TrainingLog,
    examples: EvalExamples,
    items: Items,
    depth: int,
    batch_size: int,
) -> dict[str, np.ndarray]:
    """Ranks the eval examples as well as two degrees of knowledge allow.

    `oracle` knows each user's true interests and every item's true popularity. `feasible`
    knows which interest an item is of, and counts the rest: the user's interests in the
    history, popularity in what the floors learn from. Both give followed topics their share
    of the engagements; neither follows a session. Both leave out all that the user engaged
    with, where a model knows the history of the request.

    Args:
      truth: of the generated tables.
      log: what was known before the eval split.
      examples: with `features.USER_ID` in their table.
      items: the catalogue.
      depth: length of the lists.
      batch_size: examples at a time.

    Returns:
      `[examples, depth]` int32 item rows by limit, seen items left out, -1 pads.
    """
    counted = log.popularity + _PRIOR
    before, numbers = user_items(log, len(items)), pd.Index(log.names)
    parts: dict[str, list[np.ndarray]] = {"oracle": [], "feasible": []}
    for batch in examples.batches(batch_size):
        request = user_request(batch)
        seen = indicators(items.rows(request[features.HISTORY_ITEM_ID]), len(items))
        followed = items.followed(request[features.FOLLOWED_TOPIC])
        users = padded(batch, features.USER_ID, 1, b"")[:, 0]
        seen = _either(seen, _rows(before, numbers.get_indexer(users)))
        known = _rows(truth.interests, truth.users.get_indexer(users))
        for name, interests, weight in (
            ("oracle", known, truth.weight),
            ("feasible", _shares(seen @ truth.of_item), counted),
        ):
            scores = _scores(interests, followed, seen, weight, truth.of_item, items.topics)
            parts[name].append(rank_dense(scores, seen, depth))
    empty = np.zeros((0, depth), np.int32)
    return {name: np.concatenate([*lists, empty]) for name, lists in parts.items()}


def _rows(matrix: sparse.csr_matrix, row: np.ndarray) -> sparse.csr_matrix:
    """Returns rows of a matrix, an empty one for a number below 0."""
    return matrix[np.maximum(row, 0)].multiply((row >= 0)[:, None]).tocsr()


def _either(one: sparse.csr_matrix, other: sparse.csr_matrix) -> sparse.csr_matrix:
    """Returns ones where either matrix has them."""
    both = (one + other).tocsr()
    both.eliminate_zeros()
    both.data[:] = 1.0
    return both


def _scores(
    interests: sparse.csr_matrix,
    followed: sparse.csr_matrix,
    seen: sparse.csr_matrix,
    weight: np.ndarray,
    of_item: sparse.csr_matrix,
    topics: sparse.csr_matrix,
) -> np.ndarray:
    """Chances of every item, `[users, items]` float32, up to what no list depends on.

    An engagement is drawn from one of the user's interests, by popularity or, in a search, by
    popularity flattened, or from a followed topic; where the user has met the item it is drawn
    again, flattened.

    Args:
      interests: `[users, interests]`, rows that sum to 1 or 0.
      followed: `[users, topics]` of ones.
      seen: `[users, items]` of ones.
      weight: `[items]` popularity.
      of_item: `[items, interests]` of ones.
      topics: `[items, topics]` of ones.
    """
    feed, search = SOURCE_SHARE[TOPIC_FEED], SOURCE_SHARE[SEARCH]
    follows = np.asarray(followed.sum(axis=1) > 0)
    popular, flat = _within(of_item, weight), _within(of_item, weight**SEARCH_FLATTENING)
    by_topic = _within(topics, weight)
    at_home = interests.toarray() * np.where(follows, 1.0 - feed - search, 1.0 - search)
    again = _redraws((seen @ flat).toarray())
    flattened = at_home * (seen @ popular).toarray() + search * interests.toarray()
    in_feed = feed * _shares(followed).toarray() * _redraws((seen @ by_topic).toarray())
    found = at_home @ popular.T + (flattened * again) @ flat.T + in_feed @ by_topic.T
    # An item of none of them is as likely as it is popular, far behind all others.
    return np.asarray(found + 1e-6 * weight / max(float(weight.max()), 1e-12), np.float32)


def _redraws(met: np.ndarray) -> np.ndarray:
    """How often a group is drawn from, given the share of it that is met and drawn again."""
    return 1.0 + met + met**2 + met**3


def _within(groups: sparse.csr_matrix, weight: np.ndarray) -> sparse.csr_matrix:
    """Returns each item's share of its groups' weight, `[items, groups]`."""
    weighted = sparse.diags(weight) @ groups
    total = np.asarray(weighted.sum(axis=0)).ravel()
    return (weighted @ sparse.diags(1.0 / np.maximum(total, 1e-12))).tocsr()


def _shares(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Divides each row by its sum."""
    total = np.asarray(counts.sum(axis=1)).ravel()
    return (sparse.diags(1.0 / np.maximum(total, 1e-12)) @ counts).tocsr()
