"""From counts and dead letters to `data_report.json`, and to the decision to stop."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from components.example_gen.periods import SECONDS_PER_DAY
from core.errors import DataError
from core.storage import ObjectStore, is_remote
from input_tables.contract import TABLES, USERS
from input_tables.layout import TableSet
from trainer import features

REPORT_FILE = "data_report.json"
LETTERS_DIR = "dead_letter"
_LETTERS_PATTERN = "*.jsonl"
_PROBLEMS_SHOWN = 3


def summed(lines: Iterable[str]) -> Counter[str]:
    """Sums lines `name<TAB>number` by name."""
    counts: Counter[str] = Counter()
    for line in lines:
        name, _, number = line.rpartition("\t")
        counts[name] += int(number)
    return counts


def summary(tables: TableSet, fingerprint: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """Returns the content of `data_report.json`.

    Args:
      tables: the input files.
      fingerprint: digest of their contents.
      counts: sums over all steps.
    """
    splits = {split: counts.get(f"examples:{split}", 0) for split in features.SPLITS}
    dropped = _prefixed(counts, "dropped:")
    dropped["duplicate_event"] = counts.get("duplicate_event", 0)
    dropped["over_user_cap"] = counts.get("over_user_cap", 0)
    rows = counts.get(f"rows:{TABLES[0]}", 0)
    read = (*TABLES, USERS) if tables.of(USERS) else TABLES
    return {
        "tables": {
            table: {
                "rows": counts.get(f"rows:{table}", 0),
                "dead_letters": counts.get(f"letters:{table}", 0),
                "files": len(tables.of(table)),
                "bytes": sum(file.bytes for file in tables.of(table)),
            }
            for table in read
        },
        "users": counts.get("users", 0),
        "items": splits[features.CORPUS_SPLIT],
        "events": {
            "total": rows - counts.get(f"letters:{TABLES[0]}", 0),
            "positive": counts.get("positive", 0),
            "duplicates": counts.get("duplicate_event", 0),
            "over_user_cap": counts.get("over_user_cap", 0),
        },
        "dropped": {name: number for name, number in sorted(dropped.items()) if number},
        "dead_letters": sum(counts.get(f"letters:{table}", 0) for table in read),
        "dead_letter_reasons": _prefixed(counts, "reason:"),
        "examples": splits,
        "period_days": {
            name: round(seconds / SECONDS_PER_DAY, 6)
            for name, seconds in _prefixed(counts, "period:").items()
        },
        "source_topic": {
            "logged": counts.get("source_topic_logged", 0),
            "derived": counts.get("source_topic_derived", 0),
        },
        "history_length": _percentiles(_prefixed(counts, "history:")),
        "fingerprint": fingerprint,
        "layout": tables.layout,
        "run_date": tables.run_date.isoformat() if tables.run_date else None,
        "window": {
            "first": tables.window[0].isoformat() if tables.window else None,
            "last": tables.window[1].isoformat() if tables.window else None,
        },
    }


def _prefixed(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): number
        for name, number in sorted(counts.items())
        if name.startswith(prefix)
    }


def _percentiles(histogram: Mapping[str, int]) -> dict[str, int]:
    """Returns p50, p90 and max of history lengths given as length -> examples."""
    if not histogram:
        return {"p50": 0, "p90": 0, "max": 0}
    lengths = np.array(sorted(int(length) for length in histogram))
    filled = np.cumsum([histogram[str(length)] for length in lengths])
    place = np.searchsorted(filled, [0.5 * filled[-1], 0.9 * filled[-1]])
    return {
        "p50": int(lengths[place[0]]),
        "p90": int(lengths[place[1]]),
        "max": int(lengths[-1]),
    }


def refuse_unreadable(problems: Sequence[str]) -> None:
    """Raises one DataError with the messages of all files that could not be read."""
    if problems:
        raise DataError("the tables cannot be read:\n  " + "\n  ".join(problems))


def refuse_too_many_letters(
    report: Mapping[str, Any], letters: Path, keep_dir: Path | str, max_bad_share: float
) -> None:
    """Stops the run when too large a share of any table's rows broke the contract.

    TFX removes a failed component's outputs, so the dead letters are copied first.

    Args:
      report: content of `data_report.json`.
      letters: folder of the dead letters.
      keep_dir: where they are copied; may be a URL.
      max_bad_share: dead letters per row allowed in each table.

    Raises:
      DataError: names tables, shares, the bound, the copies and the first problems.
    """
    bad = tables_over(report, max_bad_share)
    if not bad:
        return
    kept = _keep(letters, keep_dir)
    shares = "; ".join(
        f"{name}: {count} of {rows} rows ({count / max(rows, 1):.2%})"
        for name, (count, rows) in bad.items()
    )
    raise DataError(
        f"too many rows break the data contract: {shares}; examples.max_bad_share allows "
        f"{max_bad_share:.2%}. All of them: {kept}. The first:\n  "
        + "\n  ".join(_first_problems(letters, set(bad)))
    )


def tables_over(report: Mapping[str, Any], max_bad_share: float) -> dict[str, tuple[int, int]]:
    """Returns (dead letters, rows) of the tables that have too many dead letters."""
    return {
        name: (table["dead_letters"], table["rows"])
        for name, table in report["tables"].items()
        if table["dead_letters"] > max_bad_share * max(table["rows"], 1)
    }


def _keep(letters: Path, keep_dir: Path | str) -> str:
    """Replaces the dead letters of an earlier run; returns where they are, or why nowhere."""
    paths = sorted(letters.glob(_LETTERS_PATTERN))
    if is_remote(keep_dir):
        store = ObjectStore(str(keep_dir))
        try:
            store.delete(n for n in store.children() if fnmatch(n, _LETTERS_PATTERN))
            for path in paths:
                store.upload(path, path.name)
        except DataError as error:  # must not hide what is wrong with the tables
            return f"not kept ({error})"
        return store.url
    folder = Path(keep_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(_LETTERS_PATTERN):
        old.unlink()
    for path in paths:
        shutil.copy(path, folder)
    return str(folder)


def _first_problems(letters: Path, tables: set[str]) -> list[str]:
    found: list[dict[str, Any]] = []
    for path in sorted(letters.glob(_LETTERS_PATTERN)):
        with open(path, encoding="utf-8") as lines:
            found += [letter for letter in map(json.loads, lines) if letter["table"] in tables]
    found.sort(key=lambda letter: (letter["table"], letter["file"], letter["row"]))
    return [
        f"{letter['file']}:{letter['row']}: {letter['reason']}: {letter['text']}"
        for letter in found[:_PROBLEMS_SHOWN]
    ]
