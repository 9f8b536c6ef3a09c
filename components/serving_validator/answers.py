"""What every answer of `retrieve` must be, whoever asks: rules over one answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from components.evaluator.items import PAD, UNKNOWN, Items
from components.serving_validator.cases import Arrays, Case
from components.serving_validator.contract import PROMISED
from trainer import features
from trainer.config import RetrievalConfig
from trainer.retrieval import signature
from trainer.retrieval.budgets import EXPLICIT, IMPLICIT, NEIGHBOUR

#: Known items of a history up to which a list must be full; longer ones may shorten it.
MOST_SEEN = 1000

_PADS: dict[str, bytes | float] = {
    "item_id": b"",
    "score": 0.0,
    "slot": -1,
    "slot_kind": -1,
    "slot_topic": b"",
    "found_by": 0,
}


@dataclass(frozen=True)
class KnownItems:
    """What answers are judged by.

    Attributes:
      items: the index's items.
      embeddings: `[items, dim]` float32, in the same order.
      retrieval: rules that the index was built with.
      exact: whether the SavedModel searches every item.
    """

    items: Items
    embeddings: np.ndarray
    retrieval: RetrievalConfig
    exact: bool


@dataclass(frozen=True)
class RawAnswer:
    """One answer of `retrieve` with what was asked; made by `read_answer`.

    Attributes:
      case: what was asked.
      outputs: as they came.
      rows: `[batch, n]` catalogue rows of the items, see `components.evaluator.items`.
      given: `[batch, n]` bool, places before `count`.
      limit: `[batch]` most items that each row may get.
    """

    case: Case
    outputs: Arrays
    rows: np.ndarray
    given: np.ndarray
    limit: np.ndarray


def read_answer(case: Case, outputs: Arrays, catalogue: KnownItems) -> RawAnswer:
    """Looks at an answer; the shapes of its outputs must be right (`misshapen`)."""
    wanted = np.broadcast_to(
        case.inputs.get(signature.NUM_RESULTS, np.zeros(1, np.int32)), outputs["count"].shape
    )
    retrieval = catalogue.retrieval
    limit = np.minimum(np.where(wanted > 0, wanted, retrieval.num_results), retrieval.max_results)
    width = outputs["item_id"].shape[1]
    return RawAnswer(
        case=case,
        outputs=outputs,
        rows=catalogue.items.rows(outputs["item_id"]),
        given=np.arange(width)[None, :] < outputs["count"][:, None],
        limit=limit,
    )


def misshapen(case: Case, outputs: Arrays) -> str:
    """Returns what is wrong with the shapes of an answer, '' when nothing is."""
    for name, (_, rank) in PROMISED[case.signature][1].items():
        if outputs[name].ndim != rank:
            return f"`{name}` has {outputs[name].ndim} dimension(s), promised {rank}"
    batch, history = case.inputs[features.HISTORY_ITEM_ID].shape
    width = outputs["item_id"].shape[1:]
    slots = outputs["slot_valid"].shape[1:]
    promised = {
        **{name: (batch, *width) for name in _PADS},
        "count": (batch,),
        "user_id": (batch,),
        "history_slot": (batch, history),
        "slot_mass": (batch, *slots),
        "slot_valid": (batch, *slots),
    }
    for name, shape in promised.items():
        if outputs[name].shape != shape:
            return f"`{name}` is {list(outputs[name].shape)}, promised {list(shape)}"
    return ""


def broken_rules(answer: RawAnswer, catalogue: KnownItems) -> Iterator[tuple[str, str]]:
    """Yields the name of each rule that an answer breaks, and how.

    The names are the keys of `RULES`.
    """
    for name, (rule, _) in RULES.items():
        problem = rule(answer, catalogue)
        if problem:
            yield name, problem


def _finite(answer: RawAnswer, catalogue: KnownItems) -> str:
    for name in ("score", "slot_mass"):
        bad = int(np.count_nonzero(~np.isfinite(answer.outputs[name])))
        if bad:
            return f"{bad} values of `{name}` are NaN or infinite"
    return ""


def _distinct(answer: RawAnswer, catalogue: KnownItems) -> str:
    for row, given in zip(answer.outputs["item_id"], answer.given, strict=True):
        ids = row[given].tolist()
        if len(set(ids)) < len(ids):
            return f"{len(ids) - len(set(ids))} items of one answer are there twice"
    return ""


def _known(answer: RawAnswer, catalogue: KnownItems) -> str:
    strange = answer.outputs["item_id"][answer.rows == UNKNOWN]
    if len(strange):
        return f"{len(strange)} items are not in the catalogue, {strange[0]!r} for one"
    return ""


def _unseen(answer: RawAnswer, catalogue: KnownItems) -> str:
    if not catalogue.retrieval.exclude_seen:
        return ""
    histories = answer.case.inputs[features.HISTORY_ITEM_ID]
    for row, given, history in zip(answer.outputs["item_id"], answer.given, histories, strict=True):
        seen = set(row[given].tolist()) & set(history.tolist())
        if seen:
            return f"{sorted(seen)[0]!r} is in the user's history"
    return ""


def _topics(answer: RawAnswer, catalogue: KnownItems) -> str:
    """Explicit results carry the topic of their label, which the user follows."""
    explicit = answer.given & (answer.outputs["slot_kind"] == EXPLICIT)
    follows = answer.case.inputs[features.FOLLOWED_TOPIC]
    for place in np.argwhere(explicit):
        topic = answer.outputs["slot_topic"][tuple(place)]
        if topic not in follows[place[0]]:
            return f"topic {topic!r} is not followed by the user who gets it"
        row = answer.rows[tuple(place)]
        columns = catalogue.items.topic_columns([topic])
        carries = row >= 0 and columns and catalogue.items.topics[row, columns[0]]
        if catalogue.retrieval.topic_filter and not carries:
            item = answer.outputs["item_id"][tuple(place)]
            return f"{item!r} is labelled with topic {topic!r}, which it does not carry"
    return ""


def _counts(answer: RawAnswer, catalogue: KnownItems) -> str:
    """Lists are as long as wanted, or as the catalogue allows, and padded as promised."""
    count, width = answer.outputs["count"], answer.outputs["item_id"].shape[1]
    if len(count) and width != answer.limit.max():
        return f"{width} places, but {int(answer.limit.max())} items were wanted"
    if (count > answer.limit).any() or (count < 0).any():
        return f"count {int(count.max())} for {int(answer.limit.max())} wanted items"
    if ((answer.rows == PAD) == answer.given).any():
        return "`count` is not the number of items that are there"
    for name, pad in _PADS.items():
        if (answer.outputs[name][~answer.given] != pad).any():
            return f"`{name}` is not padded with {pad!r}"
    return _short_list(answer, catalogue) if catalogue.exact else ""


def _short_list(answer: RawAnswer, catalogue: KnownItems) -> str:
    """An implicit interest searches every item: nothing but the history may be left out."""
    implicit = (answer.outputs["slot_kind"] == IMPLICIT).any(axis=1)
    seen, left = _left(answer, catalogue)
    most = np.minimum(answer.limit, left)
    short = implicit & (seen <= MOST_SEEN) & (answer.outputs["count"] < most)
    for row in np.flatnonzero(short)[:1]:
        return f"{answer.outputs['count'][row]} items, but {most[row]} were wanted and are there"
    return ""


def _left(answer: RawAnswer, catalogue: KnownItems) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many known items each history holds, and how many others there are."""
    histories = catalogue.items.rows(answer.case.inputs[features.HISTORY_ITEM_ID])
    seen = np.asarray([len(set(row[row >= 0].tolist())) for row in histories], np.int64)
    return seen, len(catalogue.items) - (seen if catalogue.retrieval.exclude_seen else 0 * seen)


def _sources(answer: RawAnswer, catalogue: KnownItems) -> str:
    """A source that is switched off brings nothing."""
    kinds = np.where(answer.given, answer.outputs["slot_kind"], -1)
    for option, kind, words in (
        (signature.USE_IMPLICIT, IMPLICIT, "implicit interests"),
        (signature.USE_EXPLICIT, EXPLICIT, "followed topics"),
    ):
        if (kinds[~_option(answer, option)] == kind).any():
            return f"{words} brought items although they were switched off"
    return ""


def _reasons(answer: RawAnswer, catalogue: KnownItems) -> str:
    """Every item names a slot that was searched, one of those that found it."""
    slots, found_by = answer.outputs["slot"], answer.outputs["found_by"]
    valid = answer.outputs["slot_valid"]
    if valid.shape[1] == 0:
        return "items without any slot" if answer.given.any() else ""
    inside = (slots >= 0) & (slots < valid.shape[1])
    searched = np.take_along_axis(valid, np.clip(slots, 0, valid.shape[1] - 1), axis=1)
    if (answer.given & ~(inside & searched)).any():
        return "an item's slot was not searched"
    neighbours = answer.outputs["slot_kind"] == NEIGHBOUR
    if (answer.given & (found_by == 0) & ~neighbours).any():
        return "an item was found by no slot"
    return ""


def _echoed(answer: RawAnswer, catalogue: KnownItems) -> str:
    asked = answer.case.inputs.get(signature.USER_ID)
    if asked is not None and not np.array_equal(asked, answer.outputs["user_id"]):
        return "`user_id` is not given back"
    return ""


def _everyone(answer: RawAnswer, catalogue: KnownItems) -> str:
    """Whoever follows nothing is answered from interests or as a new user, never with nothing."""
    follows = answer.case.inputs[features.FOLLOWED_TOPIC]
    alone = (follows == b"").all(axis=1) & _option(answer, signature.USE_IMPLICIT)
    _, left = _left(answer, catalogue)
    empty = int(np.count_nonzero(alone & (left > 0) & (answer.outputs["count"] == 0)))
    return f"{empty} user(s) get nothing" if empty else ""


def _option(answer: RawAnswer, name: str) -> np.ndarray:
    given = answer.case.inputs.get(name, np.asarray([signature.OPTION_DEFAULTS[name]]))
    return np.broadcast_to(given, answer.outputs["count"].shape)


#: Name of a rule -> (the rule, what it says when nothing breaks it).
RULES: dict[str, tuple[Callable[[RawAnswer, KnownItems], str], str]] = {
    "finite": (_finite, "no NaN and no infinity"),
    "distinct": (_distinct, "no item is there twice"),
    "known items": (_known, "every item is in the catalogue"),
    "unseen items": (_unseen, "no item of the user's history"),
    "topics": (_topics, "items of a followed topic carry it"),
    "counts": (_counts, "lists are as long as wanted and padded as promised"),
    "sources": (_sources, "a source that is switched off brings nothing"),
    "reasons": (_reasons, "every item names a slot that was searched"),
    "user ids": (_echoed, "given back"),
    "everyone": (_everyone, "new users get items too"),
}
