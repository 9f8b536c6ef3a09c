"""Any one small damage to good tables ends in a named error, or in counts that add up."""

import csv
import json
import tempfile
from pathlib import Path

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli.main import tessera
from core.errors import TesseraError
from tests.input_tables.field import HEADERS, good, text_of, write

_TEXTS = {
    (table, quoting): text_of(HEADERS[table], rows, quoting)
    for table, rows in good().items()
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
}
_SNIPPETS = [
    '"', '""', ",", "\n", "\r\n", "\r", "\\", "\x00", "\ufeff", "\u2028", "|", "'", " ", "\u00a0",
    "nan", "\\N", "1.23457E+12", ".0", "-", "[", "]", "\xff", "<html>", "x" * 9_000, ",,", '",',
]  # fmt: skip
_PLACE = st.floats(0, 1, exclude_max=True)


def _at(text, place):
    return int(place * len(text))


def _insert(text, place, snippet, _):
    return text[: _at(text, place)] + snippet + text[_at(text, place) :]


def _delete(text, place, snippet, length):
    return text[: _at(text, place)] + text[_at(text, place) + length :]


def _double_line(text, place, snippet, _):
    rows = text.splitlines(keepends=True)
    return "".join([*rows, rows[_at(rows, place)]])


def _replace_field(text, place, snippet, _):
    rows = [row.split(",") for row in text.split("\n")]
    row = rows[_at(rows, place)]
    row[_at(row, place * 7 % 1)] = snippet
    return "\n".join(",".join(row) for row in rows)


def _cut(text, place, snippet, _):
    return text[: _at(text, place)]


def _quote_two(text, place, snippet, length):
    """Two fields that open a quote, some lines apart."""
    rows = text.split("\n")
    for n in (_at(rows, place), min(len(rows) - 1, _at(rows, place) + length)):
        head, comma, tail = rows[n].rpartition(",")
        rows[n] = f'{head}{comma}"{tail}'
    return "\n".join(rows)


@given(
    table=st.sampled_from(sorted(HEADERS)),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    mutate=st.sampled_from([_insert, _delete, _double_line, _replace_field, _cut, _quote_two]),
    place=_PLACE,
    snippet=st.sampled_from(_SNIPPETS),
    length=st.integers(1, 40),
)
def test_one_damage_is_named_or_counted(table, quoting, mutate, place, snippet, length):
    damaged = mutate(_TEXTS[table, quoting], place, snippet, length)
    content = damaged.encode("latin-1", "ignore") if "\xff" in damaged else damaged.encode()
    with tempfile.TemporaryDirectory() as folder:
        root = write(Path(folder) / "data", **{table: content})
        asked = ["data", "check", "--root", str(root), "--json"]
        result = CliRunner().invoke(tessera, asked)
        error = result.exception
        if error is not None:
            assert isinstance(error, TesseraError) and error.exit_code == 2, error
            assert table in str(error) or str(root) in str(error), error
        if not result.output.strip():
            assert error is not None
            return
        counted = json.loads(result.output)["tables"][table]
    broken = mutate is _insert and snippet in ("\n", "\r\n", "\r")
    _adds_up(counted, damaged, texts_with_breaks=int(broken and quoting == csv.QUOTE_ALL))


def _adds_up(counted, damaged, texts_with_breaks):
    """Every line of the file is a row that was read, one that was refused, or blank."""
    breaks = damaged.replace("\r\n", "\n").replace("\r", "\n")
    written = breaks.count("\n") + (not breaks.endswith("\n"))
    blank = sum(not line for line in breaks.split("\n")) - breaks.endswith("\n")
    lost = written - 1 - blank - counted["rows"]
    assert 0 <= lost <= texts_with_breaks, (counted, written, blank)
    assert counted["bad"] <= counted["rows"]
