"""Any file as portions of columns: delimited text, JSON lines or Parquet, told by content."""

from __future__ import annotations

import ast
import codecs
import io
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import DataError
from input_tables.importers.content import clear, kind_of, plain
from input_tables.importers.table.delimited import delimited
from input_tables.importers.table.header import WantedColumns, position_of
from input_tables.importers.table.portion import Portion, portion_of
from input_tables.importers.table.tally import Tally

_ROWS = 65_536
_HEAD_BYTES = 1 << 16
_PROBE = Path(__file__).parents[2] / "parquet_probe.py"
_PROBE_SECONDS = 600


def read(path: str, wanted: WantedColumns, tally: Tally) -> Iterator[Portion]:
    """Yields a file portion by portion; rows that cannot be read are refused in `tally`.

    Raises:
      DataError: the file is none of the formats, lacks a column, or a quote in it
        hides rows.
    """
    with clear(path, "opened"):
        raw: BinaryIO = open(path, "rb", buffering=0)  # type: ignore[assignment]  # noqa: SIM115
    with raw:
        stream = plain(raw, path)
        with clear(path, "read"):
            head: bytes = stream.peek(_HEAD_BYTES)[:_HEAD_BYTES]  # type: ignore[attr-defined]
        if head.startswith(b"PAR1"):
            yield from _parquet(path, wanted, tally)
            return
        _check_text(head, wanted, path)
        with clear(path, "read"):
            text = io.TextIOWrapper(
                stream, encoding=_encoding(wanted), errors="surrogateescape", newline=""
            )
            first = head.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
            if first == b"[":
                raise DataError(
                    f"{path}: is one JSON array; write an object per line (jq -c '.[]')"
                )
            if first == b"{":
                yield from _json_lines(text, path, wanted, tally)
            else:
                yield from delimited(text, path, wanted, tally)


def _check_text(head: bytes, wanted: WantedColumns, path: str) -> None:
    kind = kind_of(head)
    plain_encoding = wanted.encoding.lower().replace("_", "-")
    if kind is None or (
        plain_encoding.startswith("utf-16") and ("UTF-16" in kind or "text" in kind)
    ):
        return
    mend = " (give --encoding utf-16)" if "UTF-16" in kind else ""
    mend = " (unpack it)" if "archive" in kind else mend
    raise DataError(f"{path}: is {kind}{mend}; expected delimited text, JSON lines or Parquet")


def _encoding(wanted: WantedColumns) -> str:
    return "utf-8-sig" if wanted.encoding.lower() in ("utf-8", "utf8") else wanted.encoding


def _json_lines(
    text: io.TextIOWrapper, path: str, wanted: WantedColumns, tally: Tally
) -> Iterator[Portion]:
    rows: list[list[str]] = []
    places: list[int] = []
    keys: set[str] = set()
    literal: bool | None = None
    for line, each in enumerate(_lines(text), 1):
        tally.lines += 1
        if not each.strip():
            continue
        tally.read += 1
        if literal is None:
            literal = _object(each, False) is None and _object(each, True) is not None
            tally.understood(path, "Python objects" if literal else "JSON lines")
        found = _object(each, literal)
        if found is None:
            tally.refuse(path, line, "is no JSON object", each)
            continue
        keys.update(found)
        rows.append([_text(found.get(column)) for column in wanted.columns])
        places.append(line)
        if len(rows) == _ROWS:
            _check_keys(wanted, keys, path)
            yield portion_of(rows, places, wanted, path, tally)
            rows, places = [], []
    if rows:
        _check_keys(wanted, keys, path)
        yield portion_of(rows, places, wanted, path, tally)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yields lines that end with LF; CR within one is a blank to JSON."""
    before = ""
    for piece in text:
        before += piece
        if before.endswith("\n"):
            yield before
            before = ""
    if before:
        yield before


def _object(line: str, literal: bool) -> dict[str, Any] | None:
    try:
        if literal:
            found = ast.literal_eval(line.strip())
        else:
            found = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def _check_keys(wanted: WantedColumns, keys: set[str], path: str) -> None:
    for column in wanted.columns:
        if column not in keys:
            position_of(sorted(keys), column, path)
            raise DataError(f"{path}: has no key {column!r}; write it as the file does")


def _parquet(path: str, wanted: WantedColumns, tally: Tally) -> Iterator[Portion]:
    _probe(path, wanted.columns)
    tally.understood(path, "Parquet")
    with clear(path, "read as Parquet"):
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        at = {column: names[position_of(names, column, path)] for column in wanted.columns}
        row = 1
        for batch in file.iter_batches(_ROWS, columns=list(dict.fromkeys(at.values()))):
            tally.read += len(batch)
            tally.lines += len(batch)
            columns = {
                c: _decoded(batch.column(batch.schema.names.index(n))) for c, n in at.items()
            }
            yield Portion(columns, np.arange(row, row + len(batch)))
            row += len(batch)


def _probe(path: str, columns: Sequence[str]) -> None:
    """Lets a process of its own read a file first: Arrow can crash on damaged ones."""
    asked = json.dumps(
        {"path": str(Path(path).resolve()), "columns": list(columns), "groups": None}
    )
    done = subprocess.run(
        [sys.executable, str(_PROBE)],
        input=asked + "\n",
        capture_output=True,
        text=True,
        timeout=_PROBE_SECONDS,
        check=False,
    )
    answers = [line for line in done.stdout.splitlines() if line != "."]
    if answers != ["ok"]:
        reason = answers[0].removeprefix("error ") if answers else "it is damaged"
        raise DataError(
            f"{path}: cannot be read as Parquet: {reason}; written with a newer Parquet? Write it "
            "again with plain types and V1 pages"
        )


def _decoded(array: pa.Array) -> pa.Array:
    """Returns values as text where they are neither times, numbers with a fraction nor lists."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _decoded(array.dictionary_decode())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_null(kind):
        return array
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_floating(kind):
        return array
    if pa.types.is_decimal(kind):  # Arrow cannot write it as text
        texts = (None if v is None else format(v, "f") for v in array.to_pylist())
        return pa.array(texts, pa.string())
    if pa.types.is_boolean(kind):
        return pc.if_else(array, "true", "false")
    return array.cast(pa.string())
