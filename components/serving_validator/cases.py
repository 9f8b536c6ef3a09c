"""The requests that a SavedModel must answer: real ones, and what else may come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from components.serving_validator.sample import request_of
from trainer import features
from trainer.retrieval import signature

Arrays = dict[str, np.ndarray]

#: Requests in one batch, at most; also the largest batch that must be answered.
BATCH = 64
LONG_HISTORY = 10_000
HUGE_NUM_RESULTS = 1_000_000
_FEW = 8
_HISTORY = (features.HISTORY_ITEM_ID, features.HISTORY_TIMESTAMP, features.HISTORY_ACTION)


@dataclass(frozen=True)
class Case:
    """One request.

    Attributes:
      name: unique, for people.
      signature: that is asked.
      inputs: by name; options that are left out have their default.
      like: name of the case whose answer must be the same, '' for none.
    """

    name: str
    signature: str
    inputs: Arrays
    like: str = ""


def make_cases(
    sample: pa.Table,
    rows: np.ndarray,
    item_ids: list[bytes],
    item_topics: list[list[bytes]],
    filtered: bool = False,
    item_values: list[list[bytes]] | None = None,
) -> list[Case]:
    """Returns every request that a SavedModel is asked.

    Args:
      sample: real requests, at least one.
      rows: places in it that are replayed.
      item_ids: some items of the catalogue, at least one.
      item_topics: their topics.
      filtered: whether requests may be filtered.
      item_values: their features, texts `name=value`; None for a model without features.
    """
    batches = [request_of(sample, rows[i : i + BATCH]) for i in range(0, len(rows), BATCH)]
    items = {
        features.ITEM_ID: objects([*item_ids, b"no such item"]),
        features.ITEM_TOPICS: _matrix([*item_topics, [b"no such topic"]]),
    }
    if item_values is not None:
        items[features.ITEM_VALUES] = _matrix([*item_values, [b"no such feature=1"]])
    return [
        *_replays(batches),
        *_sizes(sample, rows),
        *_odd_users(batches[0], item_ids),
        *_options(_head(batches[0], _FEW)),
        Case("items", signature.EMBED_ITEMS, items),
        *(_filtered(batches[0], item_ids) if filtered else ()),
    ]


def user_inputs(request: Arrays) -> Arrays:
    """Returns the inputs that `embed_user` takes."""
    names = (*features.USER_FEATURES, features.USER_VALUES)
    return {name: request[name] for name in names if name in request}


def serialised(request: Arrays) -> np.ndarray:
    """Returns each row of a request as a serialised `tf.Example`, `[batch]` object."""
    return objects([_example(request, row) for row in range(len(request[features.TIMESTAMP]))])


def objects(values: list[bytes]) -> np.ndarray:
    """Returns bytes as an object array: NumPy's own would cut trailing zero bytes."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _replays(batches: list[Arrays]) -> list[Case]:
    cases = []
    for number, batch in enumerate(batches):
        name = f"replay {number}"
        examples = {signature.EXAMPLES: serialised(batch)}
        cases += [
            Case(name, signature.RETRIEVE, batch),
            Case(f"examples {number}", signature.RETRIEVE_EXAMPLES, examples, like=name),
            Case(f"user {number}", signature.EMBED_USER, user_inputs(batch)),
        ]
    cases.append(Case("default signature", "serving_default", batches[0], like="replay 0"))
    return cases


def _sizes(sample: pa.Table, rows: np.ndarray) -> list[Case]:
    """Batches of 0, 1 and 64; requests are repeated when there are fewer."""
    one = request_of(sample, rows[:1])
    many = request_of(sample, np.resize(rows, BATCH))
    none = {name: value[:0] for name, value in one.items()}
    return [
        Case("batch of 0", signature.RETRIEVE, none),
        Case("batch of 0 examples", signature.RETRIEVE_EXAMPLES, {signature.EXAMPLES: objects([])}),
        Case("batch of 1", signature.RETRIEVE, one),
        Case(f"batch of {BATCH}", signature.RETRIEVE, many),
    ]


def _odd_users(batch: Arrays, item_ids: list[bytes]) -> list[Case]:
    one = _head(batch, 1)
    no_history = {**one, **{name: one[name][:, :0] for name in _HISTORY}}
    no_follows = {features.FOLLOWED_TOPIC: one[features.FOLLOWED_TOPIC][:, :0]}
    unknown_topics = {features.FOLLOWED_TOPIC: _matrix([[b"no such topic", b"nor this one"]])}
    unknown_items = _history(one, [b"no such item", b"nor this one", b"\xf0\x9f\x98\x80"])
    long = _history(one, [item_ids[n % len(item_ids)] for n in range(LONG_HISTORY)])
    strange = {features.USER_VALUES: _matrix([[b"no such feature=1", b"no value", b"="]])}
    further = Case("unknown features", signature.RETRIEVE, {**one, **strange})
    return [
        *([further] if features.USER_VALUES in one else []),
        Case("no history", signature.RETRIEVE, no_history),
        Case("no history, no follows", signature.RETRIEVE, {**no_history, **no_follows}),
        Case("unknown items and topics", signature.RETRIEVE, {**unknown_items, **unknown_topics}),
        Case(f"history of {LONG_HISTORY:,}", signature.RETRIEVE, long),
    ]


def _options(few: Arrays) -> list[Case]:
    off = np.asarray([False])
    implicit_off, explicit_off = {signature.USE_IMPLICIT: off}, {signature.USE_EXPLICIT: off}
    cases = [
        Case(
            f"num_results {wanted}",
            signature.RETRIEVE,
            {**few, signature.NUM_RESULTS: np.asarray([wanted], np.int32)},
        )
        for wanted in (1, 5, HUGE_NUM_RESULTS)
    ]
    return [
        *cases,
        Case("no implicit interests", signature.RETRIEVE, {**few, **implicit_off}),
        Case("no followed topics", signature.RETRIEVE, {**few, **explicit_off}),
        Case("no source at all", signature.RETRIEVE, {**few, **implicit_off, **explicit_off}),
    ]


def _filtered(batch: Arrays, item_ids: list[bytes]) -> list[Case]:
    lists = {
        signature.ALLOW: _matrix([[*item_ids, b"no such item"]]),
        signature.DENY: _matrix([item_ids[:1]]),
    }
    return [
        Case("no filter", signature.RETRIEVE_FILTERED, batch, like="replay 0"),
        Case("allowed items", signature.RETRIEVE_FILTERED, {**_head(batch, _FEW), **lists}),
    ]


def _head(request: Arrays, rows: int) -> Arrays:
    return {name: value[:rows] for name, value in request.items()}


def _history(one: Arrays, item_ids: list[bytes]) -> Arrays:
    """Returns a request of one row with another history."""
    now = int(one[features.TIMESTAMP][0])
    actions = one[features.HISTORY_ACTION]
    action = actions[0, 0] if actions.size else b""
    count = len(item_ids)
    return {
        **one,
        features.HISTORY_ITEM_ID: objects(item_ids)[None, :],
        features.HISTORY_TIMESTAMP: (now - 1 - np.arange(count, dtype=np.int64))[None, :],
        features.HISTORY_ACTION: objects([action] * count)[None, :],
    }


def _matrix(rows: list[list[bytes]]) -> np.ndarray:
    """Returns lists as `[rows, longest]`, at least one column, b'' pads."""
    dense = np.full((len(rows), max([1, *map(len, rows)])), b"", object)
    for place, row in enumerate(rows):
        dense[place, : len(row)] = row
    return dense


def _example(request: Arrays, row: int) -> bytes:
    length = int(np.count_nonzero(request[features.HISTORY_ITEM_ID][row] != b""))
    follows = [name for name in request[features.FOLLOWED_TOPIC][row] if name != b""]
    values: dict[str, Any] = {
        features.TIMESTAMP: [request[features.TIMESTAMP][row]],
        **{name: request[name][row, :length] for name in _HISTORY},
        features.FOLLOWED_TOPIC: follows,
        features.USER_ID: [request[features.USER_ID][row]],
    }
    if features.USER_VALUES in request:
        values[features.USER_VALUES] = [v for v in request[features.USER_VALUES][row] if v != b""]
    example = tf.train.Example()
    for name, content in values.items():
        feature = example.features.feature[name]
        if name in features.INT_FEATURES:
            feature.int64_list.value.extend(int(value) for value in content)
        else:
            feature.bytes_list.value.extend(content)
    serialised_example: bytes = example.SerializeToString()
    return serialised_example
