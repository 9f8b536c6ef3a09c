"""Figures of a request log: what is unknown, which slots answered, what was shown.

Every figure is a share between 0 and 1, or None where there is nothing to take a share of.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.request_log.record import KINDS
from trainer import features

Figures = dict[str, float | None]
#: Share of the catalogue that counts as its head.
HEAD = 0.01


def unknown(requests: pa.Table, items: pa.Array, topics: pa.Array) -> Figures:
    """Returns the shares of history items and followed topics that the catalogue lacks.

    Args:
      requests: columns `history_item_id` and `followed_topic`.
      items: ids that are known.
      topics: that are known.
    """
    return {
        "items": _unknown(_flat(requests, features.HISTORY_ITEM_ID), items),
        "topics": _unknown(_flat(requests, features.FOLLOWED_TOPIC), topics),
    }


def rises(log: Figures, reference: Figures) -> Figures:
    """Returns by how much each share of a log is above that of the reference, at least 0."""
    found: Figures = {}
    for name, value in log.items():
        before = reference.get(name)
        found[name] = None if value is None or before is None else max(0.0, value - before)
    return found


def answers(rows: pa.Table) -> Figures:
    """Returns the shares of empty answers, of the kinds of slots, and of follows answered.

    `follows_answered` is the share of the requests with a followed topic whose answer
    holds an item of an explicit slot.

    Args:
      rows: of a log.
    """
    kinds = _flat(rows, "kind")
    counts = {name: pc.sum(pc.equal(kinds, name)).as_py() or 0 for name in KINDS}
    follows = pc.greater(pc.list_value_length(rows[features.FOLLOWED_TOPIC]), 0).to_numpy()
    lengths = pc.list_value_length(rows["item_id"]).to_numpy()
    explicit = np.zeros(len(lengths), bool)
    owners = pc.list_parent_indices(rows["kind"].combine_chunks())
    explicit[owners.filter(pc.equal(kinds, "explicit").fill_null(False)).to_numpy()] = True
    return {
        "empty": _share(int((lengths == 0).sum()), len(lengths)),
        **{name: _share(count, len(kinds)) for name, count in counts.items()},
        "follows_answered": _share(int((explicit & follows).sum()), int(follows.sum())),
    }


def shown(rows: pa.Table, items: pa.Array) -> Figures:
    """Returns how the items shown spread over the catalogue.

    `coverage`: items of the catalogue that were shown at all. `top_share`: impressions of the
    1 % of the catalogue that was shown most. `head_share`: impressions of the 1 % of the
    catalogue that histories hold most often. `unknown`: impressions of items outside it.

    Args:
      rows: of a log.
      items: the catalogue.
    """
    impressions = _counts(_flat(rows, "item_id"), items)
    engaged = _counts(_flat(rows, features.HISTORY_ITEM_ID), items)
    head = max(1, math.ceil(HEAD * len(items)))
    known = int(impressions.sum())
    # Equally frequent items count in the order of the catalogue, so that a figure is repeatable.
    popular = np.argsort(-engaged, kind="stable")[:head]
    return {
        "coverage": _share(int((impressions > 0).sum()), len(items)),
        "top_share": _share(int(np.sort(impressions)[::-1][:head].sum()), known),
        "head_share": _share(int(impressions[popular].sum()), known) if engaged.any() else None,
        "unknown": _unknown(_flat(rows, "item_id"), items),
    }


def _flat(rows: pa.Table, column: str) -> pa.Array:
    return rows[column].combine_chunks().flatten()


def _counts(values: pa.Array, items: pa.Array) -> np.ndarray:
    """Returns how often each item occurs, `[items]` int64."""
    places = pc.index_in(values, value_set=items).drop_null().to_numpy()
    return np.bincount(places, minlength=len(items))


def _unknown(values: pa.Array, known: pa.Array) -> float | None:
    inside = pc.sum(pc.is_in(values, value_set=known)).as_py() or 0
    return _share(len(values) - inside, len(values))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
