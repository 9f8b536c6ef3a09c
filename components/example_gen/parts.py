"""What is read at once: a file, or of a large Parquet file under a URL some row groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from components.example_gen.reading import Rows
from input_tables.layout import TableFile, TableSet
from input_tables.remote_tables import RowGroup

#: Smaller row groups are read together.
PART_BYTES = 64 << 20


class Part(NamedTuple):
    """Attributes: a `file`, and which `rows` of it; None: all."""

    file: TableFile
    rows: Rows | None = None


def parts_of(
    tables: TableSet,
    row_groups: Mapping[str, tuple[RowGroup, ...]] | None = None,
    part_bytes: int | None = None,
) -> tuple[Part, ...]:
    """Returns the parts of all files, in their order.

    Args:
      tables: the input files.
      row_groups: of files that are divided, by path.
      part_bytes: bytes of a part, about; None: `PART_BYTES`.
    """
    known, wanted = row_groups or {}, PART_BYTES if part_bytes is None else part_bytes
    return tuple(
        part for file in tables.files for part in _parts(file, known.get(file.path), wanted)
    )


def _parts(file: TableFile, groups: tuple[RowGroup, ...] | None, part_bytes: int) -> Iterator[Part]:
    # A file without row groups is read too: its schema is checked once more.
    if not groups:
        yield Part(file)
        return
    held: list[int] = []
    size, rows, before = 0, 0, 0
    for number, group in enumerate(groups):
        held.append(number)
        size, rows = size + group.bytes, rows + group.rows
        if size >= part_bytes or number == len(groups) - 1:
            yield Part(file, Rows(tuple(held), before))
            held, size, rows, before = [], 0, 0, before + rows
