"""Adapters from public data sets' own file formats to the canonical tables."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import ConfigError
from core.files import write_json
from input_tables.contract import ENGAGEMENTS, FOLLOWS, ITEMS
from input_tables.importers import amazon_sequence, goodbooks, movielens, movietweetings, zhihurec
from input_tables.importers.base import Imported, Importer, Source
from input_tables.importers.lifting import derive_follows
from input_tables.output import FileFormat, TableWriter, whole_folder

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
      What `source.json` holds: counts, time unit, notes.

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
        imported = importer.read(Source(source))
        notes, follows = list(imported.notes), imported.follows
        if follows is None and derived_follows:
            follows = derive_follows(imported.engagements, imported.items)
            notes.append("follows are derived from the first half of each history")
        tables: dict[str, pa.Table] = {ENGAGEMENTS: imported.engagements, ITEMS: imported.items}
        if follows is not None:
            tables[FOLLOWS] = follows
        for stem, table in tables.items():
            with TableWriter(root, stem, file_format) as writer:
                writer.write(table)
        summary = {
            "set": importer.title,
            "source": Path(source).name,
            "time_unit": imported.time_unit,
            **{stem: table.num_rows for stem, table in tables.items()},
            "users": len(imported.engagements["user_id"].unique()),
            "notes": notes,
        }
        write_json(root / "source.json", summary)
    return summary
