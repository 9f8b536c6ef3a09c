"""Reads all tables once and tells whether a run could use them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from core.feature_config import FeaturesConfig
from core.progress import track
from core.storage import is_remote
from input_tables.config import DataConfig
from input_tables.contract import ITEMS, TABLES, USERS, DeadLetter, ReadSettings
from input_tables.feature_survey import FeatureSurvey
from input_tables.layout import TableFile, fingerprint, read_settings
from input_tables.reading import Checked, read_table
from input_tables.remote_reading import opened_table
from input_tables.remote_tables import checked_tables, marks_fingerprint
from input_tables.survey import Survey
from input_tables.verdict import DEFAULT_RULES, Rules, judge


def check_tables(
    config: DataConfig,
    rules: Rules = DEFAULT_RULES,
    max_problems: int = 10,
    attributes: tuple[str, ...] = (),
    features: FeaturesConfig | None = None,
) -> dict[str, Any]:
    """Checks layout, headers, every row, and the tables against each other.

    Args:
      config: where the tables are, a folder or a URL.
      rules: what the run would ask of them.
      max_problems: dead letters that are returned.
      attributes: further columns of the items that the run keeps.
      features: of items and users, None for none.

    Returns:
      `layout`, `window`, `fingerprint`, `tables` {name: {files, bytes, rows, bad, and lines, of
      CSV alone}}, `rows`, `bad`, `bad_share` (of the worst table), `reasons` {text: count},
      `problems` (first dead letters), `facts`, `warnings`, `errors` and `passed` (no errors).

    Raises:
      DataError: the layout or a header is wrong, or a file is damaged.
    """
    features = features or FeaturesConfig()
    found = checked_tables(config, attributes=(*attributes, *features.columns()))
    settings = read_settings(found, rules.time_unit, attributes=attributes, features=features)
    survey = Survey(features=FeatureSurvey(features))
    reasons, problems = Counter[str](), list[DeadLetter]()
    tables: dict[str, Counter[str]] = {}
    with track("check", len(found.files)) as bar:
        for file in found.files:
            entry = tables.setdefault(file.table, Counter(files=0, bytes=0, rows=0, bad=0))
            entry.update(files=1, bytes=file.bytes)
            for batch, letters in _read(file, settings, survey):
                entry["rows"] += batch.num_rows + len(letters)
                reasons.update(f"{file.table}: {letter.reason}" for letter in letters)
                problems += letters[: max_problems - len(problems)]
            bar.advance()
    verdict = judge(survey, rules)
    bad = _bad_rows(survey, reasons)
    for table, entry in tables.items():
        entry.update(bad=bad[table], lines=survey.lines[table])
    shares = [entry["bad"] / entry["rows"] for entry in tables.values() if entry["rows"]]
    return {
        "layout": found.layout,
        "window": [str(day) for day in found.window] if found.window else None,
        "fingerprint": marks_fingerprint(found) if is_remote(found.root) else fingerprint(found),
        "tables": {table: dict(tables[table]) for table in (*TABLES, USERS) if table in tables},
        "rows": sum(entry["rows"] for entry in tables.values()),
        "bad": sum(bad.values()),
        "bad_share": max(shares, default=0.0),
        "reasons": dict(reasons.most_common()),
        "problems": [letter._asdict() for letter in problems],
        "facts": {name: fact for name, fact in verdict.facts.items() if name != "lines"},
        "warnings": [*found.warnings, *verdict.warnings],
        "errors": verdict.errors,
        "passed": not verdict.errors,
    }


def _bad_rows(survey: Survey, reasons: Counter[str]) -> Counter[str]:
    """Returns bad rows by table; repeated items count, and become one of the reasons."""
    bad = survey.bad.copy()
    if repeated := survey.rows[ITEMS] - survey.num_items:
        bad[ITEMS] += repeated
        reasons[f"{ITEMS}: duplicate item_id"] = repeated
    return bad


def _read(file: TableFile, settings: ReadSettings, survey: Survey) -> Iterator[Checked]:
    """Yields what `read_table` does, of a file or an object, and counts it."""
    with opened_table(file, None, settings.wanted) as source:
        read = read_table(source, file.table, settings, name=file.name, lines=survey.lines)
        for batch, letters in read:
            survey.add(file.table, batch, file.name)
            survey.bad[file.table] += len(letters)
            yield batch, letters
