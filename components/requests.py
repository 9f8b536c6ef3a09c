"""Raw examples as serving requests."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.examples_io import padded
from trainer import features

#: Columns of the raw examples that a request is made of; those of a run without features lack
#: the last one.
USER_COLUMNS = (*features.USER_FEATURES, features.USER_VALUES)


def longest_list(batch: pa.RecordBatch, column: str) -> int:
    """Returns the longest list of a column, at least 1 (a tensor keeps its second axis)."""
    lengths = batch.column(batch.schema.get_field_index(column)).value_lengths()
    return max(1, pc.max(lengths).as_py() or 0)


def user_request(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """Returns the inputs of `retrieve` and `embed_user` for some examples.

    Args:
      batch: raw examples with at least `USER_COLUMNS`.

    Returns:
      Arrays by feature name: `timestamp` `[batch]` int64, the others
      `[batch, longest]`, object (bytes, b'' pads) or int64 (0 pads).
    """
    history = longest_list(batch, features.HISTORY_ITEM_ID)
    follows = longest_list(batch, features.FOLLOWED_TOPIC)
    found = {
        features.TIMESTAMP: padded(batch, features.TIMESTAMP, 1, 0)[:, 0],
        features.HISTORY_ITEM_ID: padded(batch, features.HISTORY_ITEM_ID, history, b""),
        features.HISTORY_TIMESTAMP: padded(batch, features.HISTORY_TIMESTAMP, history, 0),
        features.HISTORY_ACTION: padded(batch, features.HISTORY_ACTION, history, b""),
        features.FOLLOWED_TOPIC: padded(batch, features.FOLLOWED_TOPIC, follows, b""),
    }
    if features.USER_VALUES in batch.schema.names:
        longest = longest_list(batch, features.USER_VALUES)
        found[features.USER_VALUES] = padded(batch, features.USER_VALUES, longest, b"")
    return found
