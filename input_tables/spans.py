"""Finds the files of the one-shot and of the span layout, for `input_tables.layout`."""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

from core.errors import DataError
from input_tables.contract import ENGAGEMENTS, FOLLOWS, ITEMS, TABLES, USERS, Table
from input_tables.near_names import near_tables
from input_tables.sources import clear_errors

_SPAN = "span="
FORMATS = (".csv", ".csv.gz", ".parquet")

#: (table, path, span or None, bytes): what `TableFile` holds.
Found = tuple[Table, str, dt.date | None, int]


def refuse_no_folder(root: str) -> None:
    """Raises DataError when the folder of the tables is not there."""
    mode = mode_of(Path(root))
    if mode is None:
        raise DataError(f"{root}: there is no such folder; data.root (--root) names the tables'")
    if not stat.S_ISDIR(mode):
        raise DataError(f"{root}: is a file; name the folder that holds the tables")


def has_single(root: str, tables: Iterable[Table] = TABLES) -> bool:
    """Returns whether any table lies as a single file, or folder of parts, in `root`."""
    return any(_singles(root, table) for table in tables)


def has_spans(root: str) -> bool:
    """Returns whether `engagements` is a folder with at least one `span=` entry."""
    return _holds_spans(Path(root) / ENGAGEMENTS)


def find_single(root: str, tables: Iterable[Table] = TABLES) -> list[Found]:
    """Returns the files of the one-shot layout; follows may be absent."""
    files: list[Found] = []
    problems: list[str] = []
    for table in tables:
        present = _singles(root, table)
        if len(present) > 1:
            problems.append(f"{table}: two files for one table: {_listed(present)}; keep one")
        elif present:
            files += _parts(table, present[0])
        elif not (near := _near(root, [], (table,))) and table != FOLLOWS:
            names = ", ".join(f"{table}{suffix}" for suffix in FORMATS)
            problems.append(f"{table}: not found in {root} (looked for {names})")
        else:
            problems += [
                f"{table}: {Path(root) / name} is not read; it must be called "
                f"{table}{{{','.join(FORMATS)}}}"
                for name in near
            ]
    if problems:
        raise DataError("; ".join(problems))
    return files


def near_files(root: str, found: Iterable[Found]) -> tuple[str, ...]:
    """Returns a warning for each entry of `root` that is not read but is nearly named like one."""
    read = {Path(path).relative_to(root).parts[0] for _, path, _, _ in found}
    return tuple(
        f"{Path(root) / name} is not read although it is nearly called {table}"
        for name, table in _near(root, read, TABLES).items()
    )


def _near(root: str, read: Collection[str], tables: Iterable[Table]) -> dict[str, Table]:
    entries = near_tables(name for name in _names(Path(root)) if name not in read)
    return {name: table for name, table in entries.items() if table in tables}


def _singles(root: str, table: Table) -> list[Path]:
    """Returns the file of a table, or its folder of parts; more than one is a fault."""
    wanted = {f"{table}{suffix}" for suffix in FORMATS}
    found: list[Path] = []
    for name in _names(Path(root)):
        path = Path(root) / name
        if name == table:
            mode = mode_of(path)
            if mode is not None and stat.S_ISDIR(mode) and _holds_parts(path):
                found.append(path)
        elif name.startswith(table) and name.lower() in wanted:
            found.append(path)
    return found


def _parts(table: Table, path: Path) -> list[Found]:
    mode = mode_of(path)
    if mode is not None and stat.S_ISDIR(mode):
        return span_files(table, path, None)
    return [_file(table, path, None)]


def _holds_parts(folder: Path) -> bool:
    names = _names(folder)
    parts = any(name.lower().endswith(FORMATS) for name in names)
    return parts and not any(name.startswith(_SPAN) for name in names)


def _holds_spans(folder: Path) -> bool:
    mode = mode_of(folder)
    if mode is None or not stat.S_ISDIR(mode):
        return False
    return any(name.startswith(_SPAN) for name in _names(folder))


def find_spans(
    root: str, first: dt.date, last: dt.date, tables: Iterable[Table] = TABLES
) -> list[Found]:
    """Returns engagements of every day from `first` to `last`, the other tables of `last`."""
    days = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
    wanted: list[tuple[Table, dt.date]] = [(ENGAGEMENTS, day) for day in days] + [(ITEMS, last)]
    if mode_of(Path(root) / FOLLOWS) is not None:
        wanted.append((FOLLOWS, last))
    if USERS in tables:
        wanted.append((USERS, last))
    _refuse_odd_spans(root)
    files: list[Found] = []
    missing: list[str] = []
    for table, day in wanted:
        folder = Path(root) / table / f"span={day.isoformat()}"
        if mode_of(folder) is None:
            missing.append(f"span {day.isoformat()} of {table} is missing: {folder}")
        else:
            files += span_files(table, folder, day)
    if missing:
        shown = missing[:10] + ([f"and {len(missing) - 10} more"] if len(missing) > 10 else [])
        raise DataError(
            "; ".join(shown) + f". The window is {first} to {last}; deliver the span, or change "
            "data.run_date or data.window_days (another span is never used instead)"
        )
    return files


def _refuse_odd_spans(root: str) -> None:
    """Refuses `span=` folders that name no day, and folders nearly named like a table."""
    problems = [
        f"{Path(root) / name} is not read; it must be called {table}"
        for name, table in _near(root, TABLES, TABLES).items()
        if not (Path(root) / table).exists()
    ]
    for table in TABLES:
        folder = Path(root) / table
        for name in _names(folder) if mode_of(folder) is not None else ():
            if name.startswith(_SPAN) and not is_day(name.removeprefix(_SPAN)):
                problems.append(
                    f"{folder / name}: span= must name a day as YYYY-MM-DD; move its rows into "
                    "the spans of their days, or remove it"
                )
    if problems:
        raise DataError("; ".join(problems))


def is_day(text: str) -> bool:
    """Returns whether a text is a day as `span=` names it, YYYY-MM-DD."""
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def span_files(table: Table, folder: Path, day: dt.date | None) -> list[Found]:
    """Returns the files of one span, or of a one-shot table that is a folder of parts."""
    names = [name for name in _names(folder) if not name.startswith((".", "_"))]
    unknown = [name for name in names if not name.lower().endswith(FORMATS)]
    if unknown:
        raise DataError(f"{folder / unknown[0]}: not a .csv, .csv.gz or .parquet file")
    if not names:
        raise DataError(f"{folder}: holds no file; deliver at least one with a header")
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


def mode_of(path: Path) -> int | None:
    """Returns the mode of what a path names, None when it names nothing."""
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
