"""The peer: one plain Polars program that writes the same training examples.

    python benchmarks/polars_examples.py DATA OUT

Time split, repeats dropped, no buckets, no row checks: what one would write for a
table that is known to be clean and to fit in memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

HISTORY, FOLLOWS = 50, 20
EVAL_SECONDS, VALIDATION_SECONDS = 3 * 86_400, 2 * 86_400
NEGATIVE = ["hide"]
IDS = {"user_id": pl.String, "item_id": pl.String}


def read_events(data: Path) -> pl.DataFrame:
    """Distinct events, each user's newest first."""
    return (
        pl.scan_csv(data / "engagements.csv", schema_overrides=IDS)
        .unique(["user_id", "item_id", "timestamp", "action"])
        .sort(["user_id", "timestamp", "item_id", "action"], descending=[False, True, False, False])
        .with_row_index("row")
        .with_columns(pl.col("row").cast(pl.Int64))
        .collect()
    )


def read_items(data: Path) -> pl.DataFrame:
    """Items with their topics as lists."""
    topics = pl.col("topics").fill_null("").str.split("|")
    return pl.read_csv(data / "items.csv", schema_overrides=IDS).select(
        "item_id", item_topics=topics.list.eval(pl.element().filter(pl.element() != ""))
    )


def read_targets(events: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Positive first engagements with catalogue items, with the range of their history."""
    end_of_time = pl.col("row").max().over("user_id", "timestamp") + 1
    end_of_user = pl.col("row").max().over("user_id") + 1
    return (
        events.with_columns(
            start=end_of_time,
            length=pl.min_horizontal(end_of_user - end_of_time, HISTORY),
            first=pl.col("timestamp").min().over("user_id", "item_id"),
        )
        .filter(~pl.col("action").is_in(NEGATIVE), pl.col("timestamp") == pl.col("first"))
        .unique(["user_id", "item_id"], keep="first", maintain_order=True)
        .join(items, on="item_id", maintain_order="left")
    )


def histories(events: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    """One row per target with history, its lists newest first."""
    rows = targets.select(
        "row", at=pl.int_ranges("start", pl.col("start") + pl.col("length"))
    ).explode("at", empty_as_null=False)
    past = events.select("item_id", "timestamp", "action")[rows["at"]]
    return (
        pl.DataFrame({"row": rows["row"]})
        .hstack(past)
        .group_by("row", maintain_order=True)
        .agg(history_item_id="item_id", history_timestamp="timestamp", history_action="action")
    )


def follows(data: Path, targets: pl.DataFrame) -> pl.DataFrame:
    """One row per target with topics in force, newest first, undated last."""
    table = pl.read_csv(data / "follows.csv", schema_overrides={**IDS, "topic": pl.String})
    began, ended = pl.col("timestamp_right"), pl.col("unfollowed_at")
    return (
        targets.select("row", "user_id", "timestamp", "item_topics")
        .join(table, on="user_id")
        .filter(
            began.is_null() | (began < pl.col("timestamp")),
            ended.is_null() | (ended > pl.col("timestamp")),
        )
        .sort(["row", "timestamp_right", "topic"], descending=[False, True, False], nulls_last=True)
        .unique(["row", "topic"], keep="first", maintain_order=True)
        .group_by("row", maintain_order=True)
        .agg(
            pl.col("topic").head(FOLLOWS).alias("followed_topic"),
            pl.col("topic")
            .head(FOLLOWS)
            .filter(pl.col("topic").head(FOLLOWS).is_in(pl.col("item_topics").first()))
            .first()
            .alias("derived"),
        )
    )


def main(data: Path, out: Path) -> None:
    """Writes one Parquet file per split."""
    events, items = read_events(data), read_items(data)
    targets = read_targets(events, items)
    logged = pl.col("source_topic").is_not_null()
    empty = pl.lit([], pl.List(pl.String))
    examples = (
        targets.join(histories(events, targets), on="row", how="left")
        .join(follows(data, targets), on="row", how="left")
        .select(
            "row",
            pl.concat_list("user_id"),
            pl.concat_list("timestamp"),
            pl.col("history_item_id").fill_null(empty),
            pl.col("history_timestamp").fill_null(pl.lit([], pl.List(pl.Int64))),
            pl.col("history_action").fill_null(empty),
            pl.col("followed_topic").fill_null(empty),
            pl.concat_list("item_id"),
            "item_topics",
            pl.concat_list("action"),
            pl.concat_list("source").list.drop_nulls(),
            pl.concat_list(pl.coalesce("source_topic", "derived"))
            .list.drop_nulls()
            .alias("source_topic"),
            pl.concat_list(pl.when(logged).then(0).when(pl.col("derived").is_not_null()).then(1))
            .list.drop_nulls()
            .cast(pl.List(pl.Int64))
            .alias("source_topic_derived"),
            moment=pl.col("timestamp"),
        )
    )
    end = events["timestamp"].max() + 1
    moment = pl.col("moment")
    eval_start = end - EVAL_SECONDS
    parts = {
        "train": moment < eval_start - VALIDATION_SECONDS,
        "validation": (moment >= eval_start - VALIDATION_SECONDS) & (moment < eval_start),
        "eval": moment >= eval_start,
    }
    for split, rows in parts.items():
        folder = out / f"Split-{split}"
        folder.mkdir(parents=True)
        examples.filter(rows).drop("row", "moment").write_parquet(
            folder / "examples.parquet", compression="snappy"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
