"""What users did after they had been answered: recall of later engagements."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from components.user_ids import IdKey
from input_tables.contract import ReadSettings
from input_tables.reading import read_table


def recall(rows: pa.Table, engagements: pa.Table, horizon: int) -> dict[str, float | None]:
    """Returns how many later engagements were in the answer before them.

    An engagement belongs to the latest request of its user at or before it, if that is
    no more than `horizon` ago; each item counts once per request.

    Args:
      rows: of a log, with users.
      engagements: `user_id` (named as in the log), `item_id`, `timestamp`.
      horizon: in the unit of the timestamps.

    Returns:
      `counted` engagements, and `recall`: the share of them whose item had been shown.
    """
    asked = rows.select(["user", "timestamp", "item_id"]).to_pandas().dropna(subset=["user"])
    asked = asked.rename(columns={"item_id": "shown"})
    asked["request"] = np.arange(len(asked))
    asked["asked"] = asked["timestamp"]
    done = engagements.select(["user_id", "item_id", "timestamp"]).to_pandas()
    done = done[done["user_id"].isin(asked["user"].unique())]
    joined = pd.merge_asof(
        done.sort_values("timestamp", kind="stable"),
        asked.sort_values("timestamp", kind="stable"),
        on="timestamp",
        left_by="user_id",
        right_by="user",
        tolerance=horizon,
    ).dropna(subset=["request"])
    joined = joined.drop_duplicates(["request", "item_id"])
    hits = [
        item in set(shown) for item, shown in zip(joined["item_id"], joined["shown"], strict=True)
    ]
    return {
        "counted": float(len(hits)),
        "recall": sum(hits) / len(hits) if hits else None,
    }


def read_engagements(
    path: Path, in_seconds: bool, user_key: IdKey | None, csv_escape: Literal["\\"] | None = None
) -> pa.Table:
    """Reads an engagements table; users are hashed with the key of the log, where there is one.

    Raises:
      DataError: the table cannot be read.
    """
    settings = ReadSettings(time_unit="seconds" if in_seconds else "order", csv_escape=csv_escape)
    names = ["user_id", "item_id", "timestamp"]
    kinds = pa.schema({"user_id": pa.binary(), "item_id": pa.string(), "timestamp": pa.int64()})
    found = [kinds.empty_table()]
    for batch, _ in read_table(path, "engagements", settings):
        rows = pa.Table.from_batches([batch]).select(names).replace_schema_metadata(None)
        found.append(rows.cast(kinds))
    table = pa.concat_tables(found)
    users = table["user_id"].combine_chunks().dictionary_encode()
    words = [user.decode("utf-8", "replace") for user in users.dictionary.to_pylist()]
    if user_key is not None:
        words = [user_key.hashed(user) for user in words]
    named = pa.array(words, pa.string()).take(users.indices)
    return table.set_column(0, "user_id", named)
