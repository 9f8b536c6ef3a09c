"""The items table as it is read and judged, free of TensorFlow and Beam."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.example_gen.catalogue import distinct_items
from components.example_gen.partition import ITEM, rows_of
from components.example_gen.periods import Seen
from components.example_gen.reading import letter_json, read
from components.example_gen.report import refuse_too_many_letters, summary
from components.example_gen.window import Window
from components.refresh.catalogue_gen.config import CatalogueGenConfig
from core.errors import DataError
from core.files import staged_file
from core.progress import track
from input_tables.contract import ITEMS, DeadLetter
from input_tables.feature_survey import FeatureSurvey
from input_tables.layout import TableSet, check_headers, read_settings
from input_tables.survey import Survey
from input_tables.verdict import judge_items
from trainer import features

_LOG = logging.getLogger("tessera")


def checked_items(
    config: CatalogueGenConfig,
    window: Window,
    letters_dir: Path,
    dead_letters: Path | str,
    requests: int = 0,
) -> tuple[pa.Table, dict[str, Any]]:
    """Reads the table and refuses one that breaks the contract.

    Args:
      config: what stops a refresh.
      window: the files.
      letters_dir: gets the dead letters.
      dead_letters: where they are copied when there are too many; may be a URL.
      requests: sample requests, for the report.

    Returns:
      Distinct items of `ITEM_SCHEMA`, sorted by id, and the report of the ingestion.

    Raises:
      DataError: the table breaks the contract or has too many bad rows.
    """
    tables = window.tables
    columns = (*config.attributes, *config.features.columns())
    odd_names = [*tables.warnings, *check_headers(tables, columns)]
    counts, survey = Counter[str](), Survey(features=FeatureSurvey(config.features))
    items, letters = _read_items(config, tables, counts, survey)
    _write_letters(letters, letters_dir)
    counts[f"examples:{features.CORPUS_SPLIT}"] = items.num_rows
    counts[f"examples:{features.VALIDATION_SPLIT}"] = requests
    report = summary(tables, window.fingerprint, counts)
    refuse_too_many_letters(report, letters_dir, dead_letters, config.max_bad_share)
    verdict = judge_items(survey, config.data.topics_separator)
    verdict.refuse(tables.root)
    report["warnings"] = [*odd_names, *verdict.warnings]
    for warning in report["warnings"]:
        _LOG.warning("%s", warning)
    return items, report


def _read_items(
    config: CatalogueGenConfig, tables: TableSet, counts: Counter[str], survey: Survey
) -> tuple[pa.Table, list[DeadLetter]]:
    """Reads every file; an unreadable one does not hide the faults of the others.

    Returns:
      Distinct items of `ITEM_SCHEMA`, sorted by id, and the dead letters.
    """
    settings = read_settings(
        tables, config.time_unit, attributes=config.attributes, features=config.features
    )
    rows: list[bytes] = []
    letters: list[DeadLetter] = []
    problems: list[str] = []
    with track("reading items", total=len(tables.files)) as bar:
        for file in tables.files:
            try:
                for element in read(file, settings, (1, 1), counts, survey):
                    if isinstance(element, DeadLetter):
                        letters.append(element)
                    elif not isinstance(element, Seen):
                        rows.append(element[1])
            except DataError as error:
                problems.append(str(error))
            bar.advance()
    if problems:
        raise DataError("the tables cannot be read:\n  " + "\n  ".join(problems))
    items, repeated = distinct_items(rows_of(rows, ITEM))
    for letter in (found := [*letters, *repeated]):
        counts[f"letters:{ITEMS}"] += 1
        counts[f"reason:{letter.reason}"] += 1
    return items, found


def _write_letters(letters: Iterable[DeadLetter], folder: Path) -> None:
    with staged_file(folder / "rows.jsonl") as staging:
        lines = "".join(f"{letter_json(ITEMS, letter)}\n" for letter in letters)
        staging.write_text(lines, encoding="utf-8")
