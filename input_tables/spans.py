"""Finds the files of the one-shot and of the span layout, for `input_tables.layout`."""

from __future__ import annotations

import datetime as dt
import os
import stat
from pathlib import Path

from core.errors import DataError
from input_tables.contract import ENGAGEMENTS, FOLLOWS, ITEMS, TABLES, Table
from input_tables.sources import clear_errors

FORMATS = (".csv", ".csv.gz", ".parquet")

#: (table, path, span or None, bytes): what `TableFile` holds.
Found = tuple[Table, str, dt.date | None, int]


def has_single(root: str) -> bool:
    """Returns whether any table lies as a single file in `root`."""
    return any(_mode(Path(root) / f"{t}{s}") is not None for t in TABLES for s in FORMATS)


def has_spans(root: str) -> bool:
    """Returns whether `engagements` is a folder with at least one `span=` entry."""
    folder = Path(root) / ENGAGEMENTS
    mode = _mode(folder)
    if mode is None or not stat.S_ISDIR(mode):
        return False
    return any(name.startswith("span=") for name in _names(folder))


def find_single(root: str) -> list[Found]:
    """Returns the files of the one-shot layout; follows may be absent."""
    files: list[Found] = []
    problems: list[str] = []
    for table in TABLES:
        paths = [Path(root) / f"{table}{suffix}" for suffix in FORMATS]
        present = [path for path in paths if _mode(path) is not None]
        if len(present) > 1:
            problems.append(f"{table}: two files for one table: {_listed(present)}; keep one")
        elif present:
            files.append(_file(table, present[0], None))
        elif table != FOLLOWS:
            names = ", ".join(path.name for path in paths)
            problems.append(f"{table}: not found in {root} (looked for {names})")
    if problems:
        raise DataError("; ".join(problems))
    return files


def find_spans(root: str, first: dt.date, last: dt.date) -> list[Found]:
    """Returns engagements of every day from `first` to `last`, items and follows of `last`."""
    days = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
    wanted: list[tuple[Table, dt.date]] = [(ENGAGEMENTS, day) for day in days] + [(ITEMS, last)]
    if _mode(Path(root) / FOLLOWS) is not None:
        wanted.append((FOLLOWS, last))
    files: list[Found] = []
    missing: list[str] = []
    for table, day in wanted:
        folder = Path(root) / table / f"span={day.isoformat()}"
        if _mode(folder) is None:
            missing.append(f"span {day.isoformat()} of {table} is missing: {folder}")
        else:
            files += _span_files(table, folder, day)
    if missing:
        shown = missing[:10] + ([f"and {len(missing) - 10} more"] if len(missing) > 10 else [])
        raise DataError(
            "; ".join(shown) + f". The window is {first} to {last}; deliver the span, or change "
            "data.run_date or data.window_days (another span is never used instead)"
        )
    return files


def _span_files(table: Table, folder: Path, day: dt.date) -> list[Found]:
    names = [name for name in _names(folder) if not name.startswith((".", "_"))]
    unknown = [name for name in names if not name.lower().endswith(FORMATS)]
    if unknown:
        raise DataError(f"{folder / unknown[0]}: not a .csv, .csv.gz or .parquet file")
    if not names:
        raise DataError(f"{folder}: the span holds no file; deliver at least one with a header")
    stems: dict[str, str] = {}
    for name in names:
        stem = name.lower()
        for suffix in FORMATS:
            stem = stem.removesuffix(suffix)
        if stem in stems:
            raise DataError(f"{folder}: {stems[stem]} and {name} hold the same part; keep one")
        stems[stem] = name
    return [_file(table, folder / name, day) for name in names]


def _file(table: Table, path: Path, day: dt.date | None) -> Found:
    found = _stat(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path}: expected a file, found something else")
    with clear_errors(str(path), "read"), open(path, "rb"):
        pass
    return table, str(path), day, found.st_size


def _mode(path: Path) -> int | None:
    found = _stat(path)
    return None if found is None else found.st_mode


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise DataError(f"{path}: a link to something that is not there") from None
        return None
    except (OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read: {detail}") from error


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror or error}") from error


def _listed(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths)
