"""Answers of the SavedModel as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from trainer.retrieval.budgets import EXPLICIT, EXPLORED, NEIGHBOUR

SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string()),
        pa.field("rank", pa.int32()),
        pa.field("item_id", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("kind", pa.string()),
        pa.field("reason", pa.string()),
    ]
)
#: Outputs of `retrieve` that rows are made of.
OUTPUTS = ("item_id", "score", "slot", "slot_kind", "slot_topic", "count", "history_slot")
_REASON_ITEMS = 3
_KINDS = ["implicit", "explicit", "explored", "neighbour"]


def rows(
    user_ids: Sequence[bytes], history: np.ndarray, outputs: Mapping[str, np.ndarray]
) -> pa.Table:
    """Returns the candidates of a batch, best first, one row each.

    Args:
      user_ids: `[batch]`.
      history: `[batch, history]` object (bytes), b'' pads; named in reasons.
      outputs: `OUTPUTS` of `retrieve`.
    """
    count = outputs["count"]
    user, rank = np.nonzero(np.arange(outputs["item_id"].shape[1])[None, :] < count[:, None])
    slot = outputs["slot"][user, rank]
    kind = outputs["slot_kind"][user, rank]
    # Of a neighbour the history item that brought it decides, which is in the topic's place.
    source = np.where(kind == NEIGHBOUR, outputs["slot_topic"][user, rank], b"")
    said = pd.factorize(source)[0]
    cells = np.stack([user, slot, kind, said], axis=1)
    pairs, texts = np.unique(cells, axis=0, return_inverse=True)
    first = np.zeros(len(pairs), np.int64)
    first[texts[::-1]] = np.arange(len(user))[::-1]
    reasons = [
        _reason(
            int(kind[row]),
            outputs["slot_topic"][user[row], rank[row]],
            history[user[row]][outputs["history_slot"][user[row]] == slot[row]],
            bool((outputs["history_slot"][user[row]] >= 0).any()),
        )
        for row in first
    ]
    kinds = pa.DictionaryArray.from_arrays(kind.astype(np.int8), _KINDS)
    names = pa.array([_text(name) for name in user_ids], pa.string())
    columns = [
        names.take(pa.array(user)),
        pa.array(rank + 1, pa.int32()),
        pa.array(outputs["item_id"][user, rank].tolist(), pa.binary()).cast(pa.string()),
        pa.array(outputs["score"][user, rank], pa.float32()),
        kinds.cast(pa.string()),
        pa.array(reasons, pa.string()).take(pa.array(texts.reshape(-1))),
    ]
    return pa.table(columns, schema=SCHEMA)


def _reason(kind: int, topic: bytes, members: np.ndarray, any_history: bool) -> str:
    """Returns the words that `tessera recommend` has for it, with ids for titles."""
    if kind == EXPLICIT:
        return f"follows {_text(topic)}"
    if kind == EXPLORED:
        return "a new item, shown to explore"
    if kind == NEIGHBOUR:
        return f"often together with {_text(topic)}"
    if len(members):
        shown = list(dict.fromkeys(members.tolist()))[:_REASON_ITEMS]
        return "because of " + ", ".join(map(_text, shown))
    return "because of the history as a whole" if any_history else "for users without history"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
