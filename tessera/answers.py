"""Tables made of a signature's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.client import UserRequest, clusters_of
from tessera.rows import Rows

#: Outputs of a batch without rows.
NOTHING: Mapping[str, np.ndarray] = {}
_KINDS = np.array(["implicit", "explicit", "explored", "neighbour", ""], object)


def recommended(requests: Sequence[UserRequest], outputs: Mapping[str, np.ndarray]) -> Rows:
    """Returns the table of `Model.recommend`."""
    if not outputs:
        return _empty(
            "row", "user_id", "rank", "item_id", "score", "kind", "topic", "slot", "because"
        )
    rows, ranks = _listed(outputs["item_id"], outputs["count"])
    slots = outputs["slot"][rows, ranks].astype(np.int64)
    kinds = _KINDS[outputs["slot_kind"][rows, ranks]]
    topics = _decoded(outputs["slot_topic"][rows, ranks])
    near = kinds == "neighbour"  # the topic's place holds the item that brought it
    fed = [
        clusters_of(request, outputs["history_slot"][row]) for row, request in enumerate(requests)
    ]
    because = np.empty(len(rows), object)
    because[:] = [
        [topic] if own else list(fed[r].get(s, ()))
        for r, s, own, topic in zip(
            rows.tolist(), slots.tolist(), near.tolist(), topics, strict=True
        )
    ]
    return Rows(
        {
            "row": rows,
            "user_id": _users(requests)[rows],
            "rank": ranks + 1,
            "item_id": _decoded(outputs["item_id"][rows, ranks]),
            "score": outputs["score"][rows, ranks],
            "kind": kinds,
            "topic": np.where(near, "", topics).astype(object),
            "slot": slots,
            "because": because,
        }
    )


def similar(items: Sequence[str], outputs: Mapping[str, np.ndarray]) -> Rows:
    """Returns the table of `Model.similar`."""
    if not outputs:
        return _empty("row", "of_item_id", "known", "rank", "item_id", "score")
    rows, ranks = _listed(outputs["item_id"], outputs["count"])
    return Rows(
        {
            "row": rows,
            "of_item_id": np.array(items, object)[rows],
            "known": outputs["known"][rows],
            "rank": ranks + 1,
            "item_id": _decoded(outputs["item_id"][rows, ranks]),
            "score": outputs["score"][rows, ranks],
        }
    )


def scored(
    requests: Sequence[UserRequest],
    items: Sequence[Sequence[str]],
    outputs: Mapping[str, np.ndarray],
) -> Rows:
    """Returns the table of `Model.score`."""
    names = ["score", "slot", "kind", "topic", "implicit_score", "explicit_score"]
    if not outputs:
        return _empty("row", "user_id", "item_id", "known", *names)
    rows, places = _listed(outputs["known"], np.array([len(each) for each in items]))
    known = outputs["known"][rows, places]

    def of_kind(kind: str) -> np.ndarray:
        there = known & outputs[f"has_{kind}"][rows]
        return np.where(there, outputs[f"{kind}_score"][rows, places], np.float32("nan"))

    return Rows(
        {
            "row": rows,
            "user_id": _users(requests)[rows],
            "item_id": np.array([item for each in items for item in each], object),
            "known": known,
            "score": outputs["score"][rows, places],
            "slot": outputs["slot"][rows, places].astype(np.int64),
            "kind": _KINDS[outputs["slot_kind"][rows, places]],
            "topic": _decoded(outputs["slot_topic"][rows, places]),
            "implicit_score": of_kind("implicit"),
            "explicit_score": of_kind("explicit"),
        }
    )


def encoded(requests: Sequence[UserRequest], outputs: Mapping[str, np.ndarray]) -> Rows:
    """Returns the table of `Model.encode`."""
    if not outputs:
        return _empty("row", "user_id", "slot", "kind", "topic", "mass", "embedding")
    rows, slots = np.nonzero(outputs["slot_valid"])
    vectors = np.empty(len(rows), object)
    vectors[:] = list(np.asarray(outputs["embeddings"])[rows, slots])
    return Rows(
        {
            "row": rows,
            "user_id": _users(requests)[rows],
            "slot": slots,
            "kind": _KINDS[outputs["slot_kind"][rows, slots]],
            "topic": _decoded(outputs["slot_topic"][rows, slots]),
            "mass": outputs["mass"][rows, slots],
            "embedding": vectors,
        }
    )


def _listed(matrix: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns row and column of the first `count` cells of each row, in order."""
    rows, places = np.nonzero(np.arange(matrix.shape[1])[None, :] < np.asarray(count)[:, None])
    return rows, places


def _users(requests: Sequence[UserRequest]) -> np.ndarray:
    return np.array([request.user_id for request in requests], object)


def _decoded(values: np.ndarray) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = [value.decode("utf-8", "replace") for value in values]
    return array


_DTYPES: Mapping[str, Any] = {
    **dict.fromkeys(("row", "rank", "slot"), np.int64),
    **dict.fromkeys(("score", "implicit_score", "explicit_score", "mass"), np.float32),
    "known": np.bool_,
}


def _empty(*names: str) -> Rows:
    return Rows({name: np.empty(0, _DTYPES.get(name, object)) for name in names})
