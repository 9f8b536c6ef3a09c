"""Adapters from public data sets' own file formats to the canonical tables."""

from __future__ import annotations

import difflib
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from core.errors import ConfigError, DataError
from core.files import write_json
from input_tables.contract import ENGAGEMENTS, FOLLOWS, ITEMS
from input_tables.importers import amazon_sequence, goodbooks, movielens, movietweetings, zhihurec
from input_tables.importers.base import Imported, Importer
from input_tables.importers.lifting import derive_follows
from input_tables.importers.meeting import unmet
from input_tables.importers.source import Source
from input_tables.output import FileFormat, TableWriter, whole_folder

_EARLIEST, _DAY = 631_152_000, 86_400  # 1990, one day; in seconds
__all__ = ["IMPORTERS", "Imported", "Importer", "Source", "import_tables"]

IMPORTERS: dict[str, Importer] = {
    module.IMPORTER.name: module.IMPORTER
    for module in (movielens, movietweetings, goodbooks, amazon_sequence, zhihurec)
}


def import_tables(
    name: str,
    source: str | Path,
    out: str | Path,
    file_format: FileFormat = "parquet",
    derived_follows: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Imports a public data set; `out` appears whole or not at all.

    Args:
      name: key of `IMPORTERS`.
      source: folder, zip or data file of the set as published.
      out: folder for the tables; `source.json` in it says what was read.
      file_format: of the tables written.
      derived_follows: make follows from behaviour where the set has none.
      force: replace tables that are there already.

    Returns:
      What `source.json` holds: the files read, counts, time unit, notes, warnings.

    Raises:
      ConfigError: unknown name, or `out` is not free.
      DataError: a file of the set is missing or not as published.
    """
    importer = IMPORTERS.get(name)
    if importer is None:
        near = difflib.get_close_matches(name, IMPORTERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"unknown data set {name!r}{hint} (known: {', '.join(IMPORTERS)})")
    with whole_folder(out, force) as root:
        given = Source(source)
        summary = _write(importer.read(given), given, root, file_format, derived_follows)
        summary = {"set": importer.title, "source": Path(source).resolve().name, **summary}
        summary["files"] = given.files_read
        write_json(root / "source.json", summary)
    return summary


def _write(
    imported: Imported, source: Source, root: Path, file_format: FileFormat, derived: bool
) -> dict[str, Any]:
    notes, warnings, follows = list(imported.notes), list(imported.warnings), imported.follows
    if not (imported.engagements.num_rows and imported.items.num_rows):
        what = "items" if imported.engagements.num_rows else "engagements"
        raise DataError(f"{source.path}: holds no {what} ({', '.join(source.files_read)})")
    if pc.any(pc.equal(imported.items["item_id"], "")).as_py():
        raise DataError(f"{source.path}: an item has no id ({', '.join(source.files_read)})")
    items = _once(imported.items, notes)
    engaged = unmet(
        imported.engagements["item_id"], items["item_id"], "items of engagements", "the catalogue"
    )
    if engaged and not any("items of" in warning for warning in warnings):
        warnings.append(engaged)
    if strange := _strange_times(imported):
        warnings.append(strange)
    if follows is None and derived:
        follows = derive_follows(imported.engagements, items)
        notes.append("follows are derived from the first half of each history")
    tables: dict[str, pa.Table] = {ENGAGEMENTS: imported.engagements, ITEMS: items}
    if follows is not None:
        tables[FOLLOWS] = follows
    for stem, table in tables.items():
        with TableWriter(root, stem, file_format) as writer:
            writer.write(table)
    return {
        "time_unit": imported.time_unit,
        **{stem: table.num_rows for stem, table in tables.items()},
        "users": len(imported.engagements["user_id"].unique()),
        "notes": notes,
        "warnings": warnings,
    }


def _strange_times(imported: Imported) -> str | None:
    """Returns a warning of seconds since 1970 that lie before 1990 or after today."""
    if imported.time_unit != "seconds":
        return None
    times = imported.engagements["timestamp"]
    strange = pc.or_(pc.less(times, _EARLIEST), pc.greater(times, int(time.time()) + _DAY))
    count = pc.sum(strange).as_py()
    if not count:
        return None
    return (
        f"{count:,} of {len(times):,} times are no seconds since 1970 between 1990 and today, "
        f"for example {times.filter(strange)[0].as_py()}"
    )


def _once(items: pa.Table, notes: list[str]) -> pa.Table:
    """Returns the first row of each item: a catalogue names an item once."""
    ids = items["item_id"].to_pandas()
    again = ids.duplicated()
    if not again.any():
        return items
    shown = ids[again].iloc[0]
    notes.append(f"{int(again.sum()):,} rows of items named before left out, for example {shown!r}")
    return items.filter(pa.array(~again))
