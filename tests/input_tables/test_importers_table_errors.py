"""What `data import table` refuses, by name, and what it tells."""

import datetime as dt
import gzip
import io
import tarfile
import zipfile
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.input_tables.public_sets import events, write
from tests.input_tables.table_import import accepted, call, refused

PLAIN = ("--map", "user_id=u,item_id=i,timestamp=t", "--action", "a")
HEAD = "u,i,t\n"
ROW = "u1,i1,1718000000\n"
ROWS = "".join(f"u{n % 9},i{n % 7},{1718000000 + n}\n" for n in range(300))


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("e.csv", HEAD + ROW)
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("e.csv")
        entry.size = len(HEAD)
        archive.addfile(entry, io.BytesIO(HEAD.encode()))
    return buffer.getvalue()


CONTENTS = [
    (b"", "the file is empty"),
    (b"\n\n", "the file is empty"),
    (HEAD, "none of 0 rows"),
    (b"<!DOCTYPE html><html>u,i,t</html>", "HTML"),
    (zipped(), "zip archive"),
    (tarred(), "tar archive"),
    (gzip.compress((HEAD + ROWS).encode(), mtime=0)[:200], "e.csv"),
    (b"PAR1 no parquet PAR1", "cannot be read as Parquet"),
    (b"u,i,t\nu1,\x00,1\n", "zero bytes"),
    ('[{"u": 1}]', "one JSON array"),
    ('{"u": "u1", "i": "i1"}\n', "no column 't'"),
    ("user,item,time\nu1,i1,1\n", "no column 'u'"),
    ("u,u,i,t\nu1,u1,i1,1\n", "no column 'u'"),
    (HEAD + ROW.replace("1718000000", "1718000000000"), "--time-unit ms"),
    (HEAD + ROW.replace("1718000000", "1718000000000000"), "--time-unit us"),
    (HEAD + ROW.replace("1718000000", "19884"), "--time-unit days"),
    (HEAD + ROW.replace("1718000000", "20240610"), "--time-unit iso"),
    (HEAD + ROW.replace("1718000000", "2024-06-10 10:00"), "--time-unit iso"),
    (HEAD + ROW.replace("1718000000", "yesterday"), "no --time-unit fits"),
    (HEAD + ROW + "u2,i1\n", "e.csv:3: has 2 fields, not 3"),
    (HEAD + ROW + 'u2,"i"1,1718000000\n', "e.csv:3: is no CSV"),
    (HEAD.encode() + ROW.encode() + b"u2,\xff,1718000000\n", "e.csv:3: is not utf-8"),
    (HEAD + ROW + "u2,,1718000000\n", "e.csv:3: item_id is empty"),
    (HEAD + ROW + "nan,i1,1718000000\n", "placeholder"),
    (HEAD + ROW + "\\N,i1,1718000000\n", "placeholder"),
    (HEAD + ROW + "u2,1.23457E+12,1718000000\n", "exponent"),
    (HEAD + ROW + "u2,i1,9999999999\n", "in the future"),
    (HEAD + ROW + "u2,i1,0\n", "e.csv:3: timestamp is before 1990"),
    (HEAD + ROW + "[u2],i1,1718000000\n", "user_id is a list or an object"),
    (HEAD + ROW + "u2,i1,17x\n", "e.csv:3: timestamp is no time"),
]


@pytest.mark.parametrize(("content", "told"), CONTENTS)
def test_a_file_that_is_not_as_it_should_be(tmp_path, content, told):
    source = write(tmp_path, {"e.csv": content}) / "e.csv"
    refused(tmp_path / "o", source, *PLAIN, told=("e.csv", told) if content != HEAD else told)


GIVEN = [
    (("--map", "user_id=u"), "item_id=COLUMN is needed"),
    (("--map", "user_id=u,item_id=i"), "--action NAME"),
    (("--map", "user_id=u,item_id"), "expected NAME=COLUMN"),
    (("--map", "user_id=u,user_id=i"), "given twice"),
    (("--map", "user=u,item_id=i"), "did you mean 'user_id'"),
    ((*PLAIN, "--items-map", "topics=g"), "item_id=COLUMN is needed"),
    ((*PLAIN, "--follows-map", "user_id=u"), "topic=COLUMN is needed"),
    ((*PLAIN, "--items-where", "x=1"), "items.map: item_id=COLUMN is needed"),
    ((*PLAIN, "--separator", "::"), "one character"),
    ((*PLAIN, "--where", "u"), "expected NAME=COLUMN"),
    ((*PLAIN, "--items", "none.csv", "--items-map", "item_id=i"), "none.csv: not found"),
    ((*PLAIN, "--encoding", "klingon"), "klingon"),
]


@pytest.mark.parametrize(("options", "told"), GIVEN)
def test_words_that_are_missing_or_wrong(tmp_path, options, told):
    source = write(tmp_path, {"e.csv": HEAD + ROW}) / "e.csv"
    refused(tmp_path / "o", source, *options, told=told)


def test_a_mapping_file_with_a_key_twice(tmp_path):
    mapping = "files: e.csv\naction: a\nmap: {user_id: u, item_id: i}\naction: b\n"
    source = write(tmp_path, {"m.yaml": mapping, "e.csv": HEAD + ROW})
    refused(
        tmp_path / "o", "--mapping", source / "m.yaml", told="'action' is in line 2 and in line 4"
    )
    write(tmp_path, {"m.yaml": "files: e.csv\nmapp: {}\n"})
    refused(tmp_path / "o", "--mapping", source / "m.yaml", told="mapp")
    refused(tmp_path / "o", "--mapping", source / "none.yaml", told="none.yaml: cannot be read")


QUOTES = [
    'u1,i1,1718000000,"Open\nu2,i2,1718000001,two\nu3,i3,1718000002,"Also\n',
    'u1,i1,1718000000,"Open\nu2,i2,1718000001,two\nu3,i3,1718000002,Also"\n',
    'u1,i1,1718000000,"Open\nu2,i2,1718000001,Also"\n',
    'u1,i1,1718000000,"Open\n' + "u2,i2,1718000001,two\n" * 9,
]


@pytest.mark.parametrize("text", QUOTES)
def test_a_quote_that_hides_rows_is_named_with_its_line(tmp_path, text):
    rows = "".join(f"{row},t\n" for row in ROWS.splitlines())
    source = write(tmp_path, {"e.csv": f"u,i,t,title\n{rows}{text}{rows}"}) / "e.csv"
    refused(tmp_path / "o", source, *PLAIN, told=("e.csv:302: a quote", "--no-quotes"))
    _, _, tables = accepted(tmp_path / "o", source, *PLAIN, "--no-quotes")
    assert len(events(tables)) == 600 + text.count("\n")


def test_a_value_of_several_lines_is_read(tmp_path):
    text = 'u1,i1,1718000000,"Dear, all\nof, you\n\nthis is it"\nu1,i2,1718000000,x\n'
    source = write(tmp_path, {"e.csv": "u,i,t,title\n" + text}) / "e.csv"
    _, _, tables = accepted(tmp_path / "o", source, *PLAIN, "--items-map", "item_id=i,title=title")
    assert tables["items"][0]["title"] == "Dear, all\nof, you\n\nthis is it"


def test_spark_quotes_are_named_and_read_by_an_option(tmp_path):
    text = 'u,i,t,title\nu1,i1,1718000000,"say \\"hi\\", you"\nu1,i2,1718000000,x\n'
    source = write(tmp_path, {"e.csv": text}) / "e.csv"
    options = (*PLAIN, "--items-map", "item_id=i,title=title")
    refused(tmp_path / "o", source, *options, told="--escape")
    _, _, tables = accepted(tmp_path / "o", source, *options, "--escape", "\\")
    assert tables["items"][0]["title"] == 'say "hi", you'


def test_few_bad_rows_are_counted_with_their_lines(tmp_path):
    bad = "u2,i1\n\nu2,,1718000000\nnull,i1,1718000000\n"
    source = write(tmp_path, {"e.csv": HEAD + ROWS + bad + ROWS}) / "e.csv"
    refused(tmp_path / "o", source, *PLAIN, "--max-bad-share", "0.001", told="3 of 603 rows")
    said, told, _ = accepted(tmp_path / "o", source, *PLAIN)
    counts = told["tables"]["engagements"]
    assert (counts["read"], counts["written"], counts["refused"]) == (603, 600, 3)
    assert sorted(each["line"] for each in counts["examples"]) == [302, 304, 305]
    assert "603 rows read from 605 lines, 600 written, 3 refused" in said


@pytest.mark.parametrize("text", ["[{'id': 1}]", "[['a']]", "{'a': 1}]["])
def test_topics_that_are_no_list_of_names(tmp_path, text):
    source = write(tmp_path, {"e.csv": f'u,i,t,g\nu1,i1,1718000000,"{text}"\n'}) / "e.csv"
    options = ("--items-map", "item_id=i,topics=g", "--topics-separator", "list")
    refused(tmp_path / "o", source, *PLAIN, *options, told="e.csv:2: topics is no list")


def test_a_file_that_is_given_twice(tmp_path):
    source = write(tmp_path / "s", {"e.csv": HEAD + ROW})
    told = "e.csv: is given more than once"
    refused(tmp_path / "o", source / "e.csv", source / "../s/e.csv", *PLAIN, told=told)
    refused(tmp_path / "o", source / "e.csv", source, *PLAIN, told=told)


def test_conditions_that_match_no_row_are_told(tmp_path):
    source = write(tmp_path, {"e.csv": "u,i,t,e\nu1,i1,1718000000,view\n"}) / "e.csv"
    said, _, _ = accepted(tmp_path / "o", source, *PLAIN, "--where", "e=view|buy")
    assert "no row of engagements has e 'buy'" in said
    refused(tmp_path / "p", source, *PLAIN, "--where", "e=View", told="none of 1 rows")


@pytest.mark.parametrize("kind", ["list", "struct", "binary", "time"])
def test_parquet_columns_that_are_no_ids(tmp_path, kind):
    values = {
        "list": pa.array([["u1"]]),
        "struct": pa.array([{"a": "u1"}]),
        "binary": pa.array([b"\xff"]),
        "time": pa.array([dt.time(1)]),
    }
    table = pa.table({"u": values[kind], "i": ["i1"], "t": [1718000000], "list": [[1]]})
    pq.write_table(table, tmp_path / "e.parquet")
    listed = ("--map", "user_id=i,item_id=i,timestamp=list", "--action", "a")
    refused(tmp_path / "o", tmp_path / "e.parquet", *listed, told="e.parquet")
    if kind == "time":
        accepted(tmp_path / "o", tmp_path / "e.parquet", *PLAIN)
    else:
        refused(tmp_path / "o", tmp_path / "e.parquet", *PLAIN, told="e.parquet")


def test_parquet_ids_that_are_decimals(tmp_path):
    table = pa.table({"u": pa.array([Decimal(7)]), "i": ["i1"], "t": [1718000000]})
    pq.write_table(table, tmp_path / "e.parquet")
    _, _, tables = accepted(tmp_path / "o", tmp_path / "e.parquet", *PLAIN)
    assert events(tables)[0][0] == "7"


def test_topics_that_are_joined_need_a_word(tmp_path):
    source = write(tmp_path, {"e.csv": 'u,i,t,g\nu1,i1,1718000000,"a,b"\n'}) / "e.csv"
    mapped = (source, *PLAIN, "--items-map", "item_id=i,topics=g")
    refused(tmp_path / "o", *mapped, told=("'a,b' looks like topics joined", "--topics-separator"))
    refused(tmp_path / "o", *mapped, "--topics-separator", ";", told="'a,b' looks like topics")


def test_ids_that_do_not_meet_are_told_with_both_examples(tmp_path):
    source = write(
        tmp_path,
        {
            "e.csv": HEAD + "12,0270,1718000000\n",
            "items.csv": "id,genre\n270.0,Drama\n",
            "follows.csv": "user,topic\n12.0,drama\n",
        },
    )
    said, told, _ = accepted(
        tmp_path / "o",
        *(source / "e.csv", *PLAIN, "--items", source / "items.csv"),
        *("--items-map", "item_id=id,topics=genre", "--follows", source / "follows.csv"),
        *("--follows-map", "user_id=user,topic=topic"),
    )
    assert len(told["warnings"]) == 3
    for here, there in (("0270", "270.0"), ("12.0", "12"), ("drama", "Drama")):
        assert f"{here!r} here, {there!r} there" in said


def test_the_header_may_be_in_another_case_or_quoted(tmp_path):
    source = write(tmp_path, {"e.csv": '\ufeff"U"; i ;T\nu1;i1;1718000000\n'}) / "e.csv"
    _, told, tables = accepted(tmp_path / "o", source, *PLAIN)
    assert len(events(tables)) == 1
    assert "semicolons" in told["tables"]["engagements"]["formats"][str(source)]


def test_damaged_parquet_is_an_error(tmp_path):
    frame = pd.DataFrame({"u": ["u1"] * 99, "i": ["i1"] * 99, "t": [1718000000] * 99})
    frame.to_parquet(tmp_path / "e.parquet")
    data = bytearray((tmp_path / "e.parquet").read_bytes())
    data[10:60] = bytes(50)
    (tmp_path / "e.parquet").write_bytes(data)
    refused(tmp_path / "o", tmp_path / "e.parquet", *PLAIN, told="e.parquet: cannot be read")


def test_no_tensorflow_is_imported(tmp_path):
    import subprocess
    import sys

    source = write(tmp_path, {"e.csv": HEAD + ROW}) / "e.csv"
    code = (
        "import sys; from cli.main import tessera; "
        "tessera.main(sys.argv[1:], standalone_mode=False); "
        "sys.exit('tensorflow' in sys.modules or 'apache_beam' in sys.modules)"
    )
    given = ["data", "import", "table", source, *PLAIN, "--out", tmp_path / "o"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, given)], check=False)
    assert done.returncode == 0


def test_help_names_every_option(tmp_path):
    code, said = call("--help")
    assert code == 0 and "--follows-map" in said
