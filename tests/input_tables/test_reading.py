import gzip
import io
import random
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from input_tables.contract import SCHEMAS, ReadSettings
from input_tables.reading import read_table
from tests.input_tables.tiny import HEADERS, csv_bytes, table_bytes

NOW = 1_700_000_000
CHECKS = ReadSettings(max_timestamp=NOW)
ORDER = ReadSettings(time_unit="order")


def read(data, table="engagements", checks=CHECKS, name="t.csv"):
    """Returns (good rows as dicts, dead letters as tuples)."""
    good, bad = [], []
    for batch, letters in read_table(io.BytesIO(data), table, checks, name=name):
        assert batch.schema == SCHEMAS[table]
        batch.validate(full=True)
        good += batch.to_pylist()
        bad += [tuple(letter) for letter in letters]
    return good, bad


def engagements(*rows):
    return csv_bytes(HEADERS["engagements"], rows)


def parquet(**columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_good_rows_come_in_the_canonical_schema():
    good, bad = read(table_bytes("engagements"))
    assert bad == []
    assert good[0] == {
        "user_id": b"u1",
        "item_id": b"i1",
        "timestamp": 1_600_000_100,
        "action": b"click",
        "source": None,
        "source_topic": None,
    }


def test_topics_are_split_without_empty_and_repeated_ones():
    good, _ = read(csv_bytes(HEADERS["items"], [["i", "a||b|a"], ["j", ""]]), "items")
    assert [row["topics"] for row in good] == [[b"a", b"b"], []]


def test_a_follow_without_a_date_is_null():
    good, _ = read(table_bytes("follows"), "follows")
    assert [row["timestamp"] for row in good] == [1_600_000_050, None]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (["", "i", "1", "c"], "user_id is empty"),
        (["u", "", "1", "c"], "item_id is empty"),
        (["u", "i", "1", ""], "action is empty"),
        (["u", "i", "", "c"], "timestamp is empty"),
        (["u", "i", "yesterday", "c"], "timestamp is not a whole number"),
        (["u", "i", "1.5", "c"], "timestamp is not a whole number"),
        (["u", "i", "0x10", "c"], "timestamp is not a whole number"),
        (["u", "i", "1e9", "c"], "timestamp is not a whole number"),
        (["u", "i", "9" * 30, "c"], "timestamp is not a whole number"),
        (["u", "i", "nan", "c"], "timestamp is not a whole number"),
        (["u", "i", "inf", "c"], "timestamp is not a whole number"),
        (["u", "i", "-5", "c"], "timestamp is negative"),
        (
            ["u", "i", "1600000000000", "c"],
            "timestamp is too large for seconds; it looks like milliseconds",
        ),
        (
            ["u", "i", str(NOW + 1), "c"],
            "timestamp is in the future (after the run date or now)",
        ),
        (["x" * 10_240, "i", "1", "c"], "user_id is longer than 8192 bytes"),
        (["u", "i"], "wrong number of columns"),
        (["u", "i", "1", "c", "more"], "wrong number of columns"),
    ],
)
def test_a_bad_row_becomes_a_dead_letter_with_its_reason(row, reason):
    good, bad = read(engagements(["u1", "i1", "1", "c"], row, ["u2", "i2", "2", "c"]))
    assert [r["user_id"] for r in good] == [b"u1", b"u2"]
    assert [(file, number, why) for file, number, why, _ in bad] == [("t.csv", 3, reason)]
    assert len(bad[0][3]) <= 200


@pytest.mark.parametrize("value", ["15", " 15 ", "15.0", "+15", "0000000000000000000000015"])
def test_whole_numbers_are_read_as_other_programs_write_them(value):
    alone, _ = read(engagements(["u", "i", value, "c"]))
    beside_a_bad_row, _ = read(engagements(["u", "i", value, "c"], ["u", "i", "x", "c"]))
    assert alone == beside_a_bad_row
    assert alone[0]["timestamp"] == 15


def test_an_id_of_the_longest_allowed_length_survives():
    good, bad = read(engagements(["x" * 8192, "i", "1", "c"]))
    assert len(good[0]["user_id"]) == 8192 and not bad


def test_order_indices_know_no_epoch():
    good, bad = read(engagements(["u", "i", str(10**15), "c"]), checks=ORDER)
    assert good[0]["timestamp"] == 10**15 and not bad


def test_an_unfollow_before_its_follow_is_refused():
    data = csv_bytes([*HEADERS["follows"], "unfollowed_at"], [["u", "a", "9", "5"]])
    assert read(data, "follows")[1][0][2] == "unfollowed_at is before timestamp"


def test_invalid_utf8_is_a_dead_letter_also_in_a_ragged_row():
    data = engagements() + b"u\xff,i,1,c\nu,i\xc3\nok,i,1,c\nu,i,1,caf\xc3\xa9\n"
    good, bad = read(data)
    assert [row["user_id"] for row in good] == [b"ok", b"u"]
    assert [(letter[1], letter[2]) for letter in sorted(bad, key=lambda x: x[1])] == [
        (2, "user_id is not valid UTF-8"),
        (3, "wrong number of columns"),
    ]
    assert "\ufffd" in bad[0][3]


def test_row_numbers_hold_over_many_blocks():
    rows = [[f"u{n}", "i", "1", "c"] for n in range(2000)]
    expected = []
    for number in range(2000):
        if number % 97 == 5:
            rows[number] = ["short"]
        elif number % 89 == 3:
            rows[number][2] = "bad"
        else:
            continue
        expected.append(number + 2)
    small = CHECKS.model_copy(update={"block_bytes": 1024})
    good, bad = read(engagements(*rows), checks=small)
    assert sorted(letter[1] for letter in bad) == expected
    assert len(good) == 2000 - len(expected)


def test_a_file_of_bad_rows_only_has_only_dead_letters():
    good, bad = read(engagements() + b"x\ny\n")
    assert good == [] and [letter[1] for letter in bad] == [2, 3]


def test_header_only_gives_no_rows():
    assert read(engagements()) == ([], [])
    assert read(engagements().rstrip(b"\n")) == ([], [])


@pytest.mark.parametrize("data", [b"", b"\n\n"])
def test_an_empty_file_is_refused(data):
    with pytest.raises(DataError, match=r"t\.csv:1: the file is empty"):
        read(data)


def test_all_problems_of_a_header_come_in_one_message():
    with pytest.raises(DataError) as caught:
        read(b"user_id,timestamp,timestamp\nu,1,1\n")
    text = str(caught.value)
    assert "t.csv:1: required column 'item_id' is missing" in text
    assert "t.csv:1: required column 'action' is missing" in text
    assert "t.csv:1: column 'timestamp' appears 2 times" in text


def test_another_separator_is_pointed_out():
    with pytest.raises(DataError, match="the separator must be a comma"):
        read(b"user_id;item_id;timestamp;action\nu;i;1;c\n")


def test_byte_order_mark_and_carriage_returns_do_not_matter():
    data = b"\xef\xbb\xbf" + table_bytes("engagements").replace(b"\n", b"\r\n")
    assert read(data) == read(table_bytes("engagements"))


def test_further_columns_are_ignored():
    data = csv_bytes(["price", *HEADERS["items"]], [["x", "i", "a"]])
    assert set(read(data, "items")[0][0]) == {"item_id", "topics", "title", "created_at"}


def test_gzip_is_told_by_content_not_by_name():
    plain = table_bytes("engagements")
    assert read(gzip.compress(plain), name="t.csv.gz")[0] == read(plain)[0]
    assert read(plain, name="t.csv.gz")[0] == read(plain)[0]
    two_members = gzip.compress(plain) + gzip.compress(b"u3,i3,3,c\n")
    assert len(read(two_members, name="t.csv.gz")[0]) == 3


@pytest.mark.parametrize("cut", [1, 8, 12, 40])
def test_truncated_gzip_names_the_file(cut):
    rows = [[f"u{n}", "i", str(n), "c"] for n in range(500)]
    data = gzip.compress(engagements(*rows))[:-cut]
    with pytest.raises(DataError, match=r"t\.csv\.gz"):
        read(data, name="t.csv.gz")


def test_an_unclosed_quote_over_a_block_is_explained():
    data = engagements() + b'u,"' + b"x\n" * 4096
    with pytest.raises(DataError, match=r"quote .* is not closed"):
        read(data, checks=CHECKS.model_copy(update={"block_bytes": 1024}))


def test_parquet_reads_like_csv():
    data = parquet(
        user_id=["u1", "", "u3"],
        item_id=pa.array(["i1", "i2", None]),
        timestamp=pa.array([100, 200, 300], pa.int32()),
        action=pa.array(["click"] * 3).dictionary_encode(),
    )
    good, bad = read(data, name="t.parquet")
    assert [row["user_id"] for row in good] == [b"u1"]
    assert [(letter[1], letter[2]) for letter in bad] == [
        (2, "user_id is empty"),
        (3, "item_id is empty"),
    ]


def test_parquet_binary_that_is_no_utf8_is_a_dead_letter():
    data = parquet(item_id=pa.array([b"a", b"\xff"]), topics=[["x"], ["y"]])
    good, bad = read(data, "items", name="t.parquet")
    assert len(good) == 1 and bad[0][2] == "item_id is not valid UTF-8"


def test_parquet_types_are_checked_together():
    data = parquet(user_id=[1], item_id=["i"], timestamp=[1.5], action=["c"])
    with pytest.raises(DataError) as caught:
        read(data, name="t.parquet")
    text = str(caught.value)
    assert "'user_id' must be a string" in text and "found int64" in text
    assert "'timestamp' must be int64" in text and "found double" in text


def test_what_is_no_parquet_names_the_file():
    with pytest.raises(DataError, match=r"t\.parquet: cannot be read as Parquet"):
        read(b"no parquet", name="t.parquet")


def test_a_path_is_read_and_named(tmp_path):
    path = tmp_path / "engagements.csv"
    path.write_bytes(engagements(["", "i", "1", "c"]))
    (_, letters), *_ = read_table(path, "engagements", CHECKS)
    assert letters[0].file == str(path)


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        list(read_table(tmp_path / "none.csv", "engagements", CHECKS))


MISSING = ("nan", "none", "null", "nat", "n/a", "#n/a", "<na>", "undefined", "\\n", "(null)")
#: No placeholder, and no text with a line that could be a row.
ids = st.text(
    st.one_of(st.sampled_from(',"\n\r|;\t 007é😀\ufdd0'), st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=12,
).filter(lambda text: text.casefold() not in MISSING and not ("\n" in text and text.count(",") > 2))


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


@pytest.mark.fault(16)
@given(st.lists(st.tuples(ids, ids, ids), min_size=1, max_size=8))
def test_ids_survive_csv_and_parquet(rows):
    lines = [(user, item, "7", action) for user, item, action in rows]
    as_csv = engagements() + "".join(",".join(map(quoted, line)) + "\n" for line in lines).encode()
    users, items, actions = (list(column) for column in zip(*rows, strict=True))
    as_parquet = parquet(user_id=users, item_id=items, timestamp=[7] * len(rows), action=actions)
    expected = [tuple(value.encode() for value in row) for row in rows]
    for data, name in ((as_csv, "t.csv"), (as_parquet, "t.parquet")):
        good, bad = read(data, name=name)
        assert [(r["user_id"], r["item_id"], r["action"]) for r in good] == expected
        assert bad == []


@pytest.mark.fault(23)
@given(st.integers(0, 2**32), st.booleans())
def test_mutated_text_gives_rows_dead_letters_or_data_errors(seed, compressed):
    data = bytearray(engagements(*[[f"u{n}", 'i"x', str(n), "c"] for n in range(40)]))
    if compressed:
        data = bytearray(gzip.compress(bytes(data)))
    mutate(data, random.Random(seed))
    try:
        good, bad = read(bytes(data), name="t.csv.gz" if compressed else "t.csv")
    except DataError as error:
        assert "t.csv" in str(error)
    else:
        assert len(good) + len(bad) <= 200


def mutate(data, rng):
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at = rng.randrange(len(data))
        kind = rng.random()
        if kind < 0.7:
            data[at] = rng.randrange(256)
        elif kind < 0.85:
            data[at:at] = bytes(rng.randrange(256) for _ in range(3))
        elif len(data) > 20:
            del data[at : at + 5]


@pytest.mark.fault(23)
def test_mutated_parquet_gives_rows_or_data_errors_once_probed():
    from input_tables.verify import damaged_parquet

    base = parquet(
        item_id=[f"i{n}" for n in range(40)],
        topics=[[f"t{n % 3}", "x"] for n in range(40)],
        created_at=list(range(40)),
    )
    rng = random.Random(5)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{n}.parquet" for n in range(300)]
        for path in paths:
            data = bytearray(base)
            mutate(data, rng)
            path.write_bytes(bytes(data))
        damaged = damaged_parquet([("items", str(path)) for path in paths])
        assert damaged
        for path in paths:
            if str(path) in damaged:
                continue
            try:
                for batch, _ in read_table(path, "items", CHECKS):
                    batch.validate(full=True)
            except DataError as error:
                assert path.name in str(error)
