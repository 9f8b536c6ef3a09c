"""Writes small tables and runs the join on them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam

from components.config import ExampleGenConfig, SplitConfig
from components.example_gen.ingest import ingest as ingest_window
from components.example_gen.window import resolve
from components.examples_io import read_split
from input_tables.config import DataConfig
from input_tables.verdict import TableChecks
from tests.components.example_gen_oracle import Event, Follow, Rules

HEADERS = {
    "engagements": ["user_id", "item_id", "timestamp", "action", "source", "source_topic"],
    "items": ["item_id", "topics"],
    "follows": ["user_id", "topic", "timestamp", "unfollowed_at"],
}


def write_csv(path: Path, table: str, rows: Iterable[Iterable[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADERS[table])
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.getvalue().encode())


def write_tables(
    root: Path,
    events: Iterable[Event],
    items: dict[str, list[str]],
    follows: Iterable[Follow] | None = (),
) -> Path:
    write_csv(root / "engagements.csv", "engagements", events)
    write_csv(root / "items.csv", "items", [(k, "|".join(v)) for k, v in items.items()])
    if follows is not None:
        write_csv(root / "follows.csv", "follows", follows)
    return root


def at(start: int, follows: Iterable[Follow]) -> list[Follow]:
    """Follows whose times count from a moment."""
    return [
        follow._replace(
            time=None if follow.time is None else start + follow.time,
            until=None if follow.until is None else start + follow.until,
        )
        for follow in follows
    ]


_DEFAULT = Rules()


#: Made-up tables are about the join: of the tables as a whole nothing is asked.
ANYTHING = TableChecks(
    min_engagements_in_catalogue=0,
    min_followers_engaged=0,
    min_followed_topics_with_items=0,
    max_near_misses=1,
    max_odd_topics=1,
    unmatched_actions="warn",
)


def config_for(root: Path, rules: Rules = _DEFAULT, **changes: Any) -> ExampleGenConfig:
    settings: dict[str, Any] = {
        "data": DataConfig(root=str(root)),
        "split": SplitConfig(
            strategy=rules.strategy,
            eval_days=rules.eval_days,
            validation_days=rules.validation_days,
        ),
        "history_max_items": rules.history_max,
        "history_min_items": rules.history_min,
        "follows_max_topics": rules.follows_max,
        "positive_actions": rules.positive,
        "negative_actions": rules.negative,
        "repeat_targets": rules.repeats,
        "max_events_per_user": rules.max_events,
        "time_unit": "order",
        "checks": ANYTHING,
    }
    return ExampleGenConfig(**(settings | changes))


def fn_api_runner() -> beam.Pipeline:
    return beam.Pipeline(argv=["--runner=FnApiRunner", "--sdk_container_image=none"])


def ingest(config: ExampleGenConfig, out: Path) -> dict[str, Any]:
    """Runs the join; examples in `out/examples`, report in `out/report`."""
    return ingest_window(
        config,
        resolve(config, {}),
        examples_uri=str(out / "examples"),
        report_uri=str(out / "report"),
        dead_letter_dir=str(out / "kept"),
        make_pipeline=fn_api_runner,
    )


def rows_of(out: Path, split: str) -> list[dict[str, Any]]:
    return [
        {
            name: [v.decode() if isinstance(v, bytes) else v for v in values]
            for name, values in row.items()
        }
        for batch in read_split(str(out / "examples"), split)
        for row in batch.to_pylist()
    ]


def files_of(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted((out / "examples").rglob("*.parquet"))
    }
