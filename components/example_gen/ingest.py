"""The work of RetrievalExampleGen without TFX: tables in, example files and a report out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import apache_beam as beam

from components.beam_job import clear_failure
from components.config import ExampleGenConfig, SplitConfig
from components.example_gen.columns import example_schema
from components.example_gen.graph import Plan, assemble
from components.example_gen.lines import read_lines
from components.example_gen.parts import parts_of
from components.example_gen.places import Places, placed
from components.example_gen.reading import bucket_numbers
from components.example_gen.report import (
    refuse_too_many_letters,
    refuse_unreadable,
    summary,
    summed,
    tables_over,
)
from components.example_gen.verdict import read_verdict
from components.example_gen.window import Window
from components.example_gen.writing import write_empty
from core.errors import ConfigError
from core.progress import track
from core.storage import is_remote
from input_tables.contract import last_second_of
from input_tables.layout import TableSet, check_headers, read_settings
from input_tables.remote_tables import check_remote_headers
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
    shared: str | None = None,
) -> dict[str, Any]:
    """Turns tables into example files and a data report.

    Args:
      config: where the tables are and what makes an example.
      window: the files to read and the digest of their contents.
      examples_uri: folder or URL for `Split-<name>/*.parquet`.
      report_uri: folder or URL for `data_report.json` and `dead_letter/*.jsonl`.
      dead_letter_dir: where dead letters are copied when there are too many; may be a URL.
      make_pipeline: makes the Beam pipeline.
      shared: URL by way of which files of workers come here; None: they see our folders.

    Returns:
      The content of `data_report.json`.

    Raises:
      ConfigError: days are asked of tables that have no time.
      DataError: a file breaks the contract or cannot be read, too many rows do, or
        the tables as a whole cannot be used (see `input_tables.verdict`).
      JobError: the job failed on its workers.
    """
    _refuse_days_without_time(config)
    with placed(examples_uri, report_uri, shared) as places:
        plan, odd_names = _plan(config, window.tables, places)
        with clear_failure("ExampleGen"), track("join tables"), make_pipeline() as pipeline:
            assemble(pipeline, plan)
        refuse_unreadable(list(read_lines(places.failures)))
        report = summary(window.tables, window.fingerprint, summed(read_lines(places.counts)))
        if tables_over(report, config.max_bad_share):
            with places.local_letters() as letters:
                refuse_too_many_letters(report, letters, dead_letter_dir, config.max_bad_share)
        verdict = read_verdict(read_lines(places.verdict))
        verdict.refuse(window.tables.root)
        for table, lines in verdict.facts.pop("lines").items():
            report["tables"][table]["lines"] = lines
        report |= {"facts": verdict.facts, "warnings": [*odd_names, *verdict.warnings]}
        for warning in report["warnings"]:
            _LOG.warning("%s", warning)
        for split in features.SPLITS:
            if not places.has_split(split):
                write_empty(places.examples, split, example_schema(config.features))
        places.deliver(report)
    _LOG.info("%s", _line(report, config.split))
    return report


def _plan(config: ExampleGenConfig, tables: TableSet, places: Places) -> tuple[Plan, list[str]]:
    """Returns what the graph needs to know, and what is odd about the names in the tables."""
    if is_remote(tables.root):
        row_groups, odd_names = check_remote_headers(tables, config.wanted)
        known = {path: sum(group.rows for group in found) for path, found in row_groups.items()}
        parts = parts_of(tables, row_groups)
    else:
        odd_names = check_headers(tables, config.wanted)
        known, parts = {}, parts_of(tables)
    item_buckets, user_buckets = bucket_numbers(tables, config.bucket_rows, known)
    plan = Plan(
        parts=parts,
        settings=read_settings(
            tables, config.time_unit, attributes=config.attributes, features=config.features
        ),
        config=config,
        item_buckets=item_buckets,
        user_buckets=user_buckets,
        window_end=last_second_of(tables.run_date) + 1 if tables.run_date else None,
        examples_uri=places.examples,
        letters=places.letters,
        counts=places.counts,
        failures=places.failures,
        rules=config.rules(config.data),
        verdict=places.verdict,
    )
    return plan, [*tables.warnings, *odd_names]


def _refuse_days_without_time(config: ExampleGenConfig) -> None:
    if config.split.strategy == "time" and config.time_unit == "order":
        raise ConfigError(
            "examples.split.strategy 'time' counts days, but examples.time_unit is 'order'; "
            "use strategy leave_last_two_out"
        )


def _line(report: dict[str, Any], split: SplitConfig) -> str:
    examples, days = report["examples"], report["period_days"]
    asked = {"eval": split.eval_days, "validation": split.validation_days}
    longer = [f"{name} {each:,.4g}" for name, each in days.items() if each - asked[name] > 1e-5]
    periods = f"; days lengthened by split.min_share: {', '.join(longer)}" if longer else ""
    return (
        f"{report['events']['total']:,} engagements of {report['users']:,} users: "
        f"{examples['train']:,} train, {examples['validation']:,} validation, "
        f"{examples['eval']:,} eval examples; {report['items']:,} items; "
        f"{report['dead_letters']:,} dead letters{periods}"
    )
