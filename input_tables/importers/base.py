"""What importers share: the source folder or zip, vectorised reading, the result."""

from __future__ import annotations

import fnmatch
import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from core.errors import DataError
from input_tables.sources import clear_errors


class Imported(NamedTuple):
    """Canonical tables made from one public data set.

    Attributes:
      engagements: user_id, item_id, timestamp, action.
      items: item_id, topics (list of strings), title or created_at where known.
      follows: user_id, topic, timestamp; None where the set has no such thing.
      time_unit: what `timestamp` counts.
      notes: what a reader of the figures must know.
    """

    engagements: pa.Table
    items: pa.Table
    follows: pa.Table | None
    time_unit: Literal["seconds", "order"]
    notes: tuple[str, ...] = ()


class Importer(NamedTuple):
    """One known data set."""

    name: str
    title: str
    files: str
    read: Callable[[Source], Imported]


class Source:
    """A folder, a zip file, or a single file beside its companions."""

    def __init__(self, path: str | Path) -> None:
        """Lists the files of the source; raises DataError when there is nothing to list."""
        self.path = Path(path)
        self._zip: zipfile.ZipFile | None = None
        self._only: str | None = None
        root = self.path
        with clear_errors(str(path), "read"):
            if root.is_file() and zipfile.is_zipfile(root):
                self._zip = zipfile.ZipFile(root)
                self.names = [n for n in self._zip.namelist() if not n.endswith("/")]
                return
            if root.is_file():
                self._only, root = root.name, root.parent
            if not root.is_dir():
                raise DataError(f"{path}: not found; expected a folder, a zip or a data file")
            paths = sorted(p for p in root.rglob("*") if p.is_file())
            self.names = [p.relative_to(root).as_posix() for p in paths]
            self._root = root

    def find(self, *patterns: str) -> str | None:
        """Returns the file that matches the first pattern that any file matches.

        A name given as the source itself wins; then the one nearest the top.
        """
        for pattern in patterns:
            wanted = (pattern.lower(), f"{pattern.lower()}.gz")
            found = [n for n in self.names if _matches(n, wanted)]
            if self._only in found:
                return self._only
            if found:
                return min(found, key=lambda n: (n.count("/"), n))
        return None

    def require(self, *patterns: str) -> str:
        """Returns what `find` does; raises DataError when there is no such file."""
        found = self.find(*patterns)
        if found is None:
            shown = ", ".join(self.names[:10]) or "nothing"
            more = ", ..." if len(self.names) > 10 else ""
            raise DataError(
                f"{self.path}: none of {', '.join(patterns)} found (there is: {shown}{more})"
            )
        return found

    def open(self, name: str) -> BinaryIO:
        """Opens one file of the source, gzip undone."""
        with clear_errors(self.where(name), "opened"):
            raw: BinaryIO
            if self._zip is not None:
                raw = io.BytesIO(self._zip.read(name))
            else:
                raw = open(self._root / name, "rb")  # noqa: SIM115 - the caller closes it
            if name.lower().endswith(".gz"):
                return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
            return raw

    def text(self, name: str) -> str:
        """Returns a whole small file; what is not UTF-8 is taken for Latin-1."""
        with self.open(name) as stream, clear_errors(self.where(name), "read"):
            data = stream.read()
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return data.decode("latin-1")

    def where(self, name: str) -> str:
        """Returns what messages call a file."""
        return f"{self.path}/{name}" if name != self._only else str(self.path)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    base = PurePosixPath(name).name.lower()
    return any(fnmatch.fnmatch(base, pattern) for pattern in patterns)


def read_columns(
    source: Source,
    name: str,
    columns: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    delimiter: str = ",",
) -> pa.Table:
    """Reads columns of a delimited file as strings.

    Args:
      source: where the file is.
      name: the file.
      columns: those wanted, by header or by `names`.
      names: column names of a file without a header.
      delimiter: one character.
    """
    where = source.where(name)
    with source.open(name) as stream, clear_errors(where, "read as delimited text"):
        try:
            return pacsv.read_csv(
                stream,
                read_options=pacsv.ReadOptions(column_names=list(names) if names else None),
                parse_options=pacsv.ParseOptions(
                    delimiter=delimiter,
                    quote_char='"' if delimiter == "," else False,
                    newlines_in_values=delimiter == ",",
                ),
                convert_options=pacsv.ConvertOptions(
                    include_columns=list(columns),
                    column_types={column: pa.string() for column in columns},
                    strings_can_be_null=False,
                ),
            )
        except KeyError as error:
            raise DataError(f"{where}: has no column {error.args[0]!r}") from error


def double_colon(source: Source, name: str, columns: Sequence[str]) -> pa.Table:
    """Reads a `a::b::c` file whose values hold no colon, as strings."""
    names = [n for column in columns for n in (column, f"_{column}")][:-1]
    return read_columns(source, name, columns, names=names, delimiter=":")


def whole_numbers(table: pa.Table, column: str, where: str) -> pa.ChunkedArray:
    """Returns a string column as int64; raises DataError with the first bad value."""
    values = table[column]
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:
        good = pc.match_substring_regex(values, r"^-?[0-9]{1,18}$").to_numpy()
        row = int((~good.astype(bool)).argmax())
        shown = values[row].as_py()
        raise DataError(
            f"{where}: {column} of data row {row + 1} is no number: {shown!r}"
        ) from None


def ratings(table: pa.Table, where: str) -> pa.Table:
    """Returns engagements from string columns user_id, item_id, rating, timestamp."""
    return pa.table(
        {
            "user_id": table["user_id"],
            "item_id": table["item_id"],
            "timestamp": whole_numbers(table, "timestamp", where),
            "action": rate_action(table["rating"]),
        }
    )


def rate_action(rating: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns `rate_<rating>` for each rating; `4.0` is written as `4`."""
    plain = pc.replace_substring_regex(rating, r"\.0+$", "")
    return pc.binary_join_element_wise("rate", plain, "_")
