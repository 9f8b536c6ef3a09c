"""The format of the request log: one row per user of a request, raw features and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from components.user_ids import IdKey
from trainer import features

#: Columns of a part; lists about a user are newest first, the answer best first, none has pads.
SCHEMA = pa.schema(
    {
        "time": pa.timestamp("ms", "UTC"),
        "version": pa.int64(),
        "signature": pa.string(),
        "user": pa.string(),
        features.TIMESTAMP: pa.int64(),
        features.HISTORY_ITEM_ID: pa.list_(pa.string()),
        features.HISTORY_TIMESTAMP: pa.list_(pa.int64()),
        features.HISTORY_ACTION: pa.list_(pa.string()),
        features.FOLLOWED_TOPIC: pa.list_(pa.string()),
        "item_id": pa.list_(pa.string()),
        "kind": pa.list_(pa.string()),
    }
)
KINDS = ("implicit", "explicit", "explored", "neighbour")
#: Input of the signature that takes serialised `tf.Example` protos.
EXAMPLES = "examples"
#: Outputs that a row needs; an answer without one of them is not logged.
OUTPUTS = ("item_id", "slot_kind")


def is_logged(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> bool:
    """Tells whether a request was one for recommendations whose answer names items and kinds."""
    asked = EXAMPLES in inputs or features.HISTORY_ITEM_ID in inputs
    return asked and all(name in outputs for name in OUTPUTS)


def records(
    time_s: float,
    version: int,
    signature: str,
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    user_key: IdKey | None = None,
    raw_users: bool = False,
) -> pa.Table:
    """Returns the rows of one request, of `SCHEMA`.

    Args:
      time_s: when it was answered, seconds since 1970.
      version: that answered.
      signature: that answered.
      inputs: of the signature, `[batch]` or `[batch, longest]`, or `EXAMPLES` `[batch]`.
      outputs: at least `OUTPUTS`, `[batch, results]`.
      user_key: hashes users; without one nobody is named.
      raw_users: name users as they are where there is no key.
    """
    asked = _parsed(inputs[EXAMPLES]) if EXAMPLES in inputs else _dense(inputs)
    items, kinds = outputs["item_id"], outputs["slot_kind"]
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(asked):
        user = row.pop("user").decode("utf-8", "replace")
        plain = user if raw_users else None
        shown = items[number] != b""
        rows.append(
            row
            | {
                "time": round(time_s * 1000),
                "version": version,
                "signature": signature,
                "user": (user_key.hashed(user) if user_key else plain) if user else None,
                "item_id": _texts(items[number][shown]),
                "kind": [_kind(number) for number in kinds[number][shown].tolist()],
            }
        )
    return pa.Table.from_pylist(rows, SCHEMA)


def _kind(number: int) -> str | None:
    return KINDS[number] if 0 <= number < len(KINDS) else None


def _dense(inputs: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Returns the features of each user of a batch, without pads."""
    item_ids = np.asarray(inputs[features.HISTORY_ITEM_ID], object)
    users = np.asarray(inputs.get(features.USER_ID, [b""]), object).reshape(-1)
    users = np.broadcast_to(users, len(item_ids)) if len(users) == 1 else users
    rows = []
    for number, ids in enumerate(item_ids):
        there = ids != b""
        topics = np.asarray(inputs[features.FOLLOWED_TOPIC][number], object)
        rows.append(
            {
                "user": users[number],
                features.TIMESTAMP: int(inputs[features.TIMESTAMP][number]),
                features.HISTORY_ITEM_ID: _texts(ids[there]),
                features.HISTORY_TIMESTAMP: inputs[features.HISTORY_TIMESTAMP][number][
                    there
                ].tolist(),
                features.HISTORY_ACTION: _texts(inputs[features.HISTORY_ACTION][number][there]),
                features.FOLLOWED_TOPIC: _texts(topics[topics != b""]),
            }
        )
    return rows


def _parsed(examples: np.ndarray) -> list[dict[str, Any]]:
    """Returns the features of serialised `tf.Example` protos."""
    from tensorflow.core.example import example_pb2

    rows = []
    for text in examples.reshape(-1).tolist():
        found = example_pb2.Example.FromString(text).features.feature
        words = {
            name: _texts(np.array([v for v in found[name].bytes_list.value if v], object))
            for name in (features.HISTORY_ITEM_ID, features.HISTORY_ACTION, features.FOLLOWED_TOPIC)
        }
        user = found[features.USER_ID].bytes_list.value
        times = {
            features.TIMESTAMP: next(iter(found[features.TIMESTAMP].int64_list.value), 0),
            features.HISTORY_TIMESTAMP: list(found[features.HISTORY_TIMESTAMP].int64_list.value),
        }
        rows.append({"user": user[0] if user else b"", **times, **words})
    return rows


def _texts(values: np.ndarray) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values.tolist()]
