"""One question per user with all of the user's events of the eval period as targets.

With one target per question a list that serves two interests is right by one of them at most;
asked once with everything that a user did next, spread can be worth something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from components.evaluator.examples import EvalExamples, read_rows
from components.evaluator.items import Items
from components.examples_io import padded, read_split
from trainer import features

#: Users asked, a seeded sample.
USERS_MAX = 5_000


@dataclass(frozen=True)
class UserQuestions:
    """The first eval example of some users, with the targets of all of their examples.

    Attributes:
      examples: one per user; the history ends before the eval period.
      targets: `[users, items]` CSR float32 of ones.
      sizes: `[users]` int, distinct targets, those that the catalogue lacks included.
    """

    examples: EvalExamples
    targets: sparse.csr_matrix
    sizes: np.ndarray


def read_user_questions(examples_uri: str, items: Items, seed: int) -> UserQuestions | None:
    """Groups the eval split by user.

    Args:
      examples_uri: raw examples.
      items: the catalogue.
      seed: of the sample of users.

    Returns:
      None where no user has more than one target, as with leave-last-out: there is nothing
      to ask that the questions with one target do not.
    """
    columns = [features.USER_ID, features.TIMESTAMP, features.ITEM_ID]
    parts = [
        pd.DataFrame(
            {
                "user": padded(batch, features.USER_ID, 1, b"")[:, 0],
                "time": padded(batch, features.TIMESTAMP, 1, 0)[:, 0],
                "id": padded(batch, features.ITEM_ID, 1, b"")[:, 0],
            }
        )
        for batch in read_split(examples_uri, features.EVAL_SPLIT, columns)
    ]
    if not parts:
        return None
    frame = pd.concat(parts, ignore_index=True)
    frame["user"] = pd.factorize(frame["user"])[0]
    users = int(frame["user"].max()) + 1
    if users == len(frame):
        return None
    first = frame.sort_values("time", kind="stable").groupby("user").head(1)
    if users > USERS_MAX:
        kept = np.random.default_rng(seed).choice(users, USERS_MAX, replace=False)
        first = first[first["user"].isin(kept)]
    first = first.sort_index()
    place = pd.Series(np.arange(len(first)), index=first["user"])
    own = frame[frame["user"].isin(place.index)].drop_duplicates(["user", "id"])
    row, item = place[own["user"]].to_numpy(), items.rows(own["id"].to_numpy())
    known = item >= 0
    targets = sparse.csr_matrix(
        (np.ones(int(known.sum()), np.float32), (row[known], item[known])),
        shape=(len(first), len(items)),
    )
    return UserQuestions(
        examples=read_rows(examples_uri, items, first.index.to_numpy()),
        targets=targets,
        sizes=np.bincount(row, minlength=len(first)),
    )


def measure(
    lists: np.ndarray, targets: sparse.csr_matrix, sizes: np.ndarray, ks: Sequence[int]
) -> dict[str, float]:
    """Returns the means over users of recall@k, precision@k and ndcg@k.

    recall: share of the user's targets among the first k. precision: share of the first k
    that are targets; empty places count. ndcg: gain 1 / log2(1 + place) of each target found,
    over that of all targets (k at most) at the top.

    Args:
      lists: `[users, results]` int item rows, below 0 ignored; no item twice.
      targets: `[users, items]` CSR of ones.
      sizes: `[users]` int, number of targets, at least 1.
      ks: cut-offs.
    """
    if not len(lists):
        return {}
    width = targets.shape[1]
    owner = np.repeat(np.arange(targets.shape[0]), np.diff(targets.indptr)).astype(np.int64)
    keys = np.arange(len(lists), dtype=np.int64)[:, None] * width + lists
    hit = np.isin(keys, owner * width + targets.indices) & (lists >= 0)
    gain = 1.0 / np.log2(2.0 + np.arange(max(lists.shape[1], max(ks))))
    best = np.cumsum(gain)
    figures: dict[str, float] = {}
    for k in ks:
        found = hit[:, :k].sum(axis=1)
        ideal = best[np.minimum(sizes, k) - 1]
        figures[f"recall@{k}"] = float((found / sizes).mean())
        figures[f"precision@{k}"] = float((found / k).mean())
        gained = (hit[:, :k] * gain[: min(k, lists.shape[1])]).sum(axis=1)
        figures[f"ndcg@{k}"] = float((gained / ideal).mean())
    return figures
