"""Where the files of the three tables lie, and whether what a run needs is there.

One-shot: `<root>/{engagements,items,follows}.{csv,csv.gz,parquet}`, each a file or a folder of
parts (`<root>/engagements/*` too). Scheduled:
`<root>/<table>/span=YYYY-MM-DD/*`, where a window is the last days up to a run
date that the caller must give: never "the latest".
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from core.errors import DataError
from core.feature_config import FeaturesConfig
from input_tables.config import CopiedData, DataConfig
from input_tables.contract import (
    TOPIC_SEPARATOR,
    ReadSettings,
    Table,
    last_second_of,
    tables_with,
)
from input_tables.headers import header_problems
from input_tables.near_names import like_columns
from input_tables.sources import clear_errors, is_parquet
from input_tables.spans import (
    Found,
    find_single,
    find_spans,
    has_single,
    has_spans,
    near_files,
    refuse_no_folder,
)
from input_tables.verify import damaged_parquet

_LOG = logging.getLogger("tessera")
_CHUNK_BYTES = 1 << 20


class TableFile(NamedTuple):
    """One file of one table.

    Attributes:
      table: which table.
      path: where it is read.
      span: its day, None in the one-shot layout.
      bytes: its size.
      original: the URL that it was copied from, '' when it was not.
      mark: what an object store says of its content, '' for a file.
    """

    table: Table
    path: str
    span: dt.date | None
    bytes: int
    original: str = ""
    mark: str = ""

    @property
    def name(self) -> str:
        """What messages and dead letters call it."""
        return self.original or self.path


class TableSet(NamedTuple):
    """The files that one run reads.

    Attributes:
      layout: `single` (one-shot) or `spans`.
      root: folder of the tables, or the URL that they were copied from.
      files: files of the window, sorted by table, span and path.
      window: first and last day, None in the one-shot layout.
      run_date: last day of the window, or what the configuration says.
      csv_escape: see `DataConfig`.
      topics_separator: what stands between topics in CSV.
      warnings: what is odd about the names of files.
    """

    layout: Literal["single", "spans"]
    root: str
    files: tuple[TableFile, ...]
    window: tuple[dt.date, dt.date] | None
    run_date: dt.date | None
    csv_escape: Literal["\\"] | None = None
    topics_separator: str = TOPIC_SEPARATOR
    warnings: tuple[str, ...] = ()

    def of(self, table: Table) -> tuple[TableFile, ...]:
        """Returns the files of one table, possibly none (follows only)."""
        return tuple(f for f in self.files if f.table == table)


def find_tables(config: DataConfig, wanted: Sequence[str] = ()) -> TableSet:
    """Finds the files of the window.

    Args:
      config: where they are.
      wanted: further columns, which decide whether `users` is one of the tables.

    Raises:
      DataError: a table or a span is missing, two files hold the same table, the
        layout cannot be told, or a folder cannot be read.
    """
    read = tables_with(wanted)
    refuse_no_folder(config.root)
    layout = config.layout if config.layout != "auto" else _detect(config.root)
    if layout == "single":
        found = find_single(config.root, read)
        window = None
    else:
        if config.run_date is None:
            raise DataError(
                f"{config.root}: tables in spans need a run date; set data.run_date (YYYY-MM-DD), "
                "the latest span is never assumed"
            )
        first = config.run_date - dt.timedelta(days=config.window_days - 1)
        window = (first, config.run_date)
        found = find_spans(config.root, first, config.run_date, read)
    files = table_files(config, sorted(found, key=lambda f: (f[0], str(f[2]), f[1])))
    warnings = near_files(config.root, found)
    return table_set(config, layout, files, window)._replace(warnings=warnings)


def table_set(
    config: DataConfig,
    layout: Literal["single", "spans"],
    files: tuple[TableFile, ...],
    window: tuple[dt.date, dt.date] | None,
) -> TableSet:
    """Returns the files with what the configuration says about reading them."""
    return TableSet(
        layout,
        table_root(config),
        files,
        window,
        config.run_date,
        config.csv_escape,
        config.topics_separator or TOPIC_SEPARATOR,
    )


def table_root(config: DataConfig) -> str:
    """Returns the folder of the tables, or the URL that they were copied from."""
    return config.origin if isinstance(config, CopiedData) else config.root


def table_files(config: DataConfig, found: Iterable[Found]) -> tuple[TableFile, ...]:
    """Returns what was found, each with the name of its original where the tables are a copy."""
    files = tuple(TableFile(*parts) for parts in found)
    if not isinstance(config, CopiedData):
        return files
    return tuple(
        file._replace(original=config.origin + file.path.removeprefix(config.root))
        for file in files
    )


def _detect(root: str) -> Literal["single", "spans"]:
    single, spans = has_single(root), has_spans(root)
    if single and spans:
        raise DataError(
            f"{root}: holds both single files and span= folders; set data.layout to single or spans"
        )
    if not single and not spans:
        raise DataError(
            f"{root}: no tables found; expected engagements.csv, .csv.gz or .parquet (one-shot) "
            "or engagements/span=YYYY-MM-DD/ (scheduled)"
        )
    return "single" if single else "spans"


def check_headers(tables: TableSet, attributes: Sequence[str] = ()) -> list[str]:
    """Checks the headers and column types of all files of all tables.

    Parquet files are read once in a child process: Arrow may crash on damaged
    ones, and then only that child dies.

    Args:
      tables: the files.
      attributes: see `ReadSettings.attributes`; those columns must be there.

    Returns:
      Warnings: columns that are not used although their names are like those that would be.

    Raises:
      DataError: one message that lists every problem as `file:line: text`.
    """
    problems: list[str] = []
    ignored: dict[Table, set[str]] = {}
    parquet = [(file.table, file.path) for file in tables.files if is_parquet(file.path)]
    damaged = damaged_parquet(parquet)
    for file in tables.files:
        if file.path in damaged:
            problems.append(f"{file.path}: cannot be read as Parquet: {damaged[file.path]}")
            continue
        try:
            found, unused = header_problems(file.path, file.table, attributes)
        except DataError as error:
            found, unused = [str(error)], []
        problems += found
        ignored.setdefault(file.table, set()).update(unused)
    return settle_headers(problems, ignored)


def settle_headers(problems: list[str], ignored: Mapping[Table, set[str]]) -> list[str]:
    """Refuses tables with problems; otherwise says which columns are not used.

    Returns:
      Warnings: columns that are not used although their names are like those that would be.

    Raises:
      DataError: one message that lists every problem.
    """
    if problems:
        raise DataError("the tables break the data contract:\n  " + "\n  ".join(problems))
    warnings = list[str]()
    for table, names in ignored.items():
        if names:
            _LOG.info("%s: columns not used: %s", table, ", ".join(sorted(names)))
        warnings += [
            f"{table}: column {name!r} is not used; is it {like!r}?"
            for name, like in like_columns(sorted(names), table).items()
        ]
    return warnings


def fingerprint(tables: TableSet) -> str:
    """Returns a hex digest of the contents.

    Names, order and times of files do not matter, so the same span delivered
    twice has the same fingerprint.
    """
    parts = []
    for file in tables.files:
        digest = hashlib.blake2b(digest_size=16)
        with clear_errors(file.path, "read"), open(file.path, "rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
        parts.append(f"{file.table}/{file.span or ''}/{digest.hexdigest()}")
    return hashlib.blake2b("\n".join(sorted(parts)).encode(), digest_size=16).hexdigest()


def read_settings(
    tables: TableSet,
    time_unit: Literal["seconds", "order"],
    now: int | None = None,
    attributes: tuple[str, ...] = (),
    features: FeaturesConfig | None = None,
) -> ReadSettings:
    """Returns the row checks of a run.

    Args:
      tables: its run date, when there is one, ends in UTC the time that rows may have.
      time_unit: `order` switches the epoch checks off.
      now: seconds since 1970 that replace the clock where there is no run date.
      attributes: see `ReadSettings.attributes`.
      features: see `ReadSettings.features`; None for none.
    """
    latest = int(time.time()) if now is None else now
    if tables.run_date is not None:
        latest = last_second_of(tables.run_date)
    return ReadSettings(
        time_unit=time_unit,
        max_timestamp=None if time_unit == "order" else latest,
        attributes=attributes,
        features=features or FeaturesConfig(),
        csv_escape=tables.csv_escape,
        topics_separator=tables.topics_separator,
    )
