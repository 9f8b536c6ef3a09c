"""The work of RetrievalExampleGen without TFX: tables in, example files and a report out."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam

from components.config import ExampleGenConfig
from components.example_gen.graph import Plan, assemble
from components.example_gen.reading import bucket_numbers
from components.example_gen.report import (
    LETTERS_DIR,
    REPORT_FILE,
    read_counts,
    refuse_too_many_letters,
    refuse_unreadable,
    summary,
)
from components.example_gen.window import Window
from components.example_gen.writing import write_empty
from core.errors import ConfigError
from core.files import write_json
from core.progress import track
from input_tables.contract import last_second_of
from input_tables.layout import check_headers, read_settings
from trainer import features

_LOG = logging.getLogger("tessera")


def ingest(
    config: ExampleGenConfig,
    window: Window,
    *,
    examples_uri: str,
    report_uri: str,
    dead_letter_dir: str,
    make_pipeline: Callable[[], beam.Pipeline],
) -> dict[str, Any]:
    """Turns tables into example files and a data report.

    Args:
      config: where the tables are and what makes an example.
      window: the files to read and the digest of their contents.
      examples_uri: folder for `Split-<name>/*.parquet`.
      report_uri: folder for `data_report.json` and `dead_letter/*.jsonl`.
      dead_letter_dir: where dead letters are copied when there are too many; may be a URL.
      make_pipeline: makes the Beam pipeline.

    Returns:
      The content of `data_report.json`.

    Raises:
      ConfigError: days are asked of tables that have no time.
      DataError: a file breaks the contract or cannot be read, or too many rows do.
    """
    _refuse_days_without_time(config)
    tables = window.tables
    check_headers(tables)
    item_buckets, user_buckets = bucket_numbers(tables, config.bucket_rows)
    letters = Path(report_uri) / LETTERS_DIR
    letters.mkdir(parents=True, exist_ok=True)
    # Beside the report, not in a local temporary folder: workers must reach it.
    scratch = Path(report_uri) / ".scratch"
    plan = Plan(
        files=tables.files,
        settings=read_settings(tables, config.time_unit),
        config=config,
        item_buckets=item_buckets,
        user_buckets=user_buckets,
        window_end=last_second_of(tables.run_date) + 1 if tables.run_date else None,
        examples_uri=examples_uri,
        letters_prefix=str(letters / "rows"),
        counts_prefix=str(scratch / "counts" / "part"),
        failures_prefix=str(scratch / "failures" / "part"),
    )
    with track("join tables"), make_pipeline() as pipeline:
        assemble(pipeline, plan)
    refuse_unreadable(scratch / "failures")
    report = summary(tables, window.fingerprint, read_counts(scratch / "counts"))
    shutil.rmtree(scratch)
    refuse_too_many_letters(report, letters, dead_letter_dir, config.max_bad_share)
    for split in features.SPLITS:
        if not any((Path(examples_uri) / f"Split-{split}").glob("*.parquet")):
            write_empty(examples_uri, split)
    write_json(Path(report_uri) / REPORT_FILE, report)
    _LOG.info("%s", _line(report))
    return report


def _refuse_days_without_time(config: ExampleGenConfig) -> None:
    if config.split.strategy == "time" and config.time_unit == "order":
        raise ConfigError(
            "examples.split.strategy 'time' counts days, but examples.time_unit is 'order'; "
            "use strategy leave_last_two_out"
        )


def _line(report: dict[str, Any]) -> str:
    examples = report["examples"]
    return (
        f"{report['events']['total']:,} engagements of {report['users']:,} users: "
        f"{examples['train']:,} train, {examples['validation']:,} validation, "
        f"{examples['eval']:,} eval examples; {report['items']:,} items; "
        f"{report['dead_letters']:,} dead letters"
    )
