"""Files damaged at random end in a named error, or in counts that add up."""

import csv
import gzip
import io
import json
import shutil
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import ConfigError, DataError
from input_tables.importers import import_tables
from input_tables.importers.table import import_table, mapping_of
from tests.input_tables.public_sets import (
    AMAZON,
    GOODBOOKS,
    ML_1M,
    ML_100K,
    ML_CSV,
    ZHIHU,
    write,
)
from tests.input_tables.table_import import assert_adds_up

EVENTS = "u,i,t,title,g\n" + "".join(
    f'u{n % 7},i{n % 5},{1718000000 + n},"Title, {n}",a|b\n' for n in range(40)
)
LINES = "".join(
    json.dumps({"u": f"u{n % 7}", "i": n % 5, "t": 1718000000 + n, "title": "x", "g": ["a"]}) + "\n"
    for n in range(40)
)
MAPPED = {
    "map": {"user_id": "u", "item_id": "i", "timestamp": "t"},
    "action": "view",
    "max_bad_share": 0.5,
    "items": {"map": {"item_id": "i", "title": "title", "topics": "g"}},
}

PIECES = st.sampled_from(
    [b'"', b"\n", b"\r\n", b",", b"::", b"|", b"\t", b" ", b"\x00", b"\xff", b"\xef\xbb\xbf",
     "\u2028".encode(), "\u0085".encode(), b"\x0b", b"\\", b"{", b"]", b"nan", b"1e400", b"-1",
     b"99999999999999999999", b"i1,a,\"Open", b"PK\x03\x04", b"<html>"]
)  # fmt: skip


@st.composite
def damage(draw):
    """Returns a function that damages bytes."""
    kind = draw(st.sampled_from(["insert", "delete", "repeat", "cut", "swap", "gzip"]))
    at, length = draw(st.floats(0, 1)), draw(st.integers(1, 60))
    piece = draw(PIECES)

    def apply(data):
        place = int(at * len(data))
        begin, end = data[:place], data[place:]
        return {
            "insert": begin + piece + end,
            "delete": begin + end[length:],
            "repeat": begin + end[:length] * 2 + end[length:],
            "cut": begin,
            "swap": end + begin,
            "gzip": gzip.compress(data)[: max(1, place)],
        }[kind]

    return apply


def ended(run, out):
    """Returns what a run gives, or None where it ended in a named error and wrote nothing."""
    try:
        return run(out)
    except (DataError, ConfigError) as error:
        assert str(out.parent / "s") in str(error) or "rows" in str(error), error
        assert not out.exists()
        return None


@pytest.mark.parametrize("text", [EVENTS, EVENTS.replace(",", ";"), LINES])
@settings(suppress_health_check=list(HealthCheck))
@given(wounds=st.lists(damage(), min_size=1, max_size=3))
def test_a_damaged_file_of_events(text, wounds):
    folder = Path(tempfile.mkdtemp())
    data = text.encode()
    for wound in wounds:
        data = wound(data)
    write(folder / "s", {"e": data})
    mapping = mapping_of(None, {**MAPPED, "files": [str(folder / "s/e")]})
    told = ended(lambda out: import_table(mapping, out), folder / "o")
    if told is not None:
        for counts in told["tables"].values():
            assert_adds_up(counts)
        assert told["tables"]["engagements"]["read"] >= told["engagements"] > 0
    shutil.rmtree(folder)


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
ROW = st.tuples(
    st.text("uv1", min_size=1, max_size=2), st.text("i23", min_size=1, max_size=2), TEXT
)


@given(rows=st.lists(ROW, min_size=1, max_size=12), separator=st.sampled_from(",;|\t"))
def test_quoted_and_plain_values_are_the_same(rows, separator):
    folder = Path(tempfile.mkdtemp())
    answers = []
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=separator, quoting=quoting)
        writer.writerows([("u", "i", "title", "last"), *((*row, "x") for row in rows)])
        out = folder / f"o{quoting}"
        mapping = {
            "files": [str(write(folder / "s", {"e": text.getvalue()}) / "e")],
            "map": {"user_id": "u", "item_id": "i"},
            "action": "a",
            "quotes": True,
            "items": {"map": {"item_id": "i", "title": "title"}},
        }
        told = import_table(mapping_of(None, mapping), out)
        assert told["tables"]["engagements"]["written"] == len(rows)
        tables = (pq.read_table(out / f"{name}.parquet") for name in ("engagements", "items"))
        answers.append([table.to_pylist() for table in tables])
    assert answers[0] == answers[1]
    assert [row["user_id"] for row in answers[0][0]] == [row[0] for row in rows]
    shutil.rmtree(folder)


SETS = [
    ("movielens", ML_1M),
    ("movielens", ML_CSV),
    ("movielens", ML_100K),
    ("goodbooks", GOODBOOKS),
    ("amazon_sequence", AMAZON),
    ("zhihurec", ZHIHU),
]


@pytest.mark.parametrize(("name", "files"), SETS)
@settings(suppress_health_check=list(HealthCheck))
@given(draw=st.data())
def test_a_damaged_public_set(name, files, draw):
    folder = Path(tempfile.mkdtemp())
    file = draw.draw(st.sampled_from(sorted(files)))
    data = files[file] if isinstance(files[file], bytes) else files[file].encode()
    write(folder / "s", {**files, file: draw.draw(damage())(data)})
    told = ended(lambda out: import_tables(name, folder / "s", out), folder / "o")
    assert told is None or told["engagements"] > 0
    shutil.rmtree(folder)
