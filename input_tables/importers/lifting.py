"""Follows made from lists and histories of items: each item's topics count for the user."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa


def lift_to_topics(
    pairs: pd.DataFrame, items: pa.Table, min_items: int, max_topics: int
) -> pa.Table:
    """Returns undated follows from an explicit list of items.

    Args:
      pairs: columns user_id and item_id, for example a to-read list.
      items: canonical items.
      min_items: items of a topic that make it followed.
      max_topics: topics kept per user: those most over-represented against the
        whole list come first.
    """
    carried = _topics(items)
    joined = pairs.drop_duplicates().merge(carried, on="item_id")
    counts = joined.groupby(["user_id", "topic"], sort=True).size().rename("n").reset_index()
    overall = joined["topic"].value_counts()
    counts["lift"] = counts["n"] / counts["topic"].map(overall)
    counts = counts[counts["n"] >= min_items]
    order = counts.sort_values(["user_id", "lift", "topic"], ascending=[True, False, True])
    kept = order.groupby("user_id").head(max_topics)
    return _follows(kept, None)


def derive_follows(engagements: pa.Table, items: pa.Table, min_items: int = 2) -> pa.Table:
    """Returns follows made from behaviour, for sets that have none.

    A topic counts as followed from the `min_items`-th item of it within the first
    half of the user's history. Such follows repeat what the history says; they
    let the conditional part run, they cannot show what real follows are worth.
    """
    events = engagements.select(["user_id", "item_id", "timestamp"]).to_pandas()
    events = events.sort_values(["user_id", "timestamp", "item_id"], kind="stable")
    rank = events.groupby("user_id").cumcount()
    length = events.groupby("user_id")["item_id"].transform("size")
    early = events[rank < length // 2].merge(_topics(items), on="item_id", how="inner")
    early = early.sort_values(["user_id", "timestamp", "item_id", "topic"], kind="stable")
    seen = early.groupby(["user_id", "topic"]).cumcount()
    return _follows(early[seen == min_items - 1], "timestamp")


def _topics(items: pa.Table) -> pd.DataFrame:
    frame = items.select(["item_id", "topics"]).to_pandas().explode("topics")
    return frame.dropna().rename(columns={"topics": "topic"})


def _follows(frame: pd.DataFrame, time: str | None) -> pa.Table:
    count = len(frame)
    when = pa.nulls(count, pa.int64()) if time is None else pa.array(frame[time], pa.int64())
    return pa.table(
        {
            "user_id": pa.array(frame["user_id"], pa.string()),
            "topic": pa.array(frame["topic"], pa.string()),
            "timestamp": when,
        }
    )
