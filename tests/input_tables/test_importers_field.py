"""Data sets that are almost as published, through the command line."""

import gzip
import io
import json
import tarfile
import zipfile

import pytest
from click.testing import CliRunner

from cli.main import tessera
from tests.input_tables.public_sets import (
    AMAZON,
    GOODBOOKS,
    ML_1M,
    ML_100K,
    ML_CSV,
    ZHIHU,
    events,
    read_back,
    topics,
    write,
)
from tests.input_tables.tiny import put

PAGE = b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n"


def call(name, source, out, *options):
    """Returns (exit code, everything that was said)."""
    given = ["data", "import", name, str(source), "--out", str(out), *options]
    result = CliRunner().invoke(tessera, given)
    if result.exception is None or isinstance(result.exception, SystemExit):
        return result.exit_code, result.output
    return getattr(result.exception, "exit_code", repr(result.exception)), str(result.exception)


def refused(name, source, out, *told):
    code, said = call(name, source, out)
    assert code == 2, said
    for words in told:
        assert words in said
    assert not out.exists()


def accepted(name, source, out):
    """Returns (what was said, source.json, tables)."""
    code, said = call(name, source, out)
    assert code == 0, said
    told = json.loads((out / "source.json").read_text())
    return said, told, read_back(out, told["time_unit"])


def tar(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            data = data if isinstance(data, bytes) else data.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["ml-latest.zip", "ml-latest.tar.gz", "ml-latest.tgz", "ml.rar"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (PAGE, "HTML"),
        (b"", "damaged"),
        (b"PK\x03\x04 cut short", "damaged"),
        (gzip.compress(b"userId,movieId", mtime=0), "no "),
    ],
)
def test_a_broken_archive_is_named_and_no_neighbour_is_read(tmp_path, name, content, told):
    write(tmp_path / "s", ML_1M)
    write(tmp_path / "s", {"ratings.dat": ML_1M["ml-1m/ratings.dat"], "movies.dat": "1::a::b\n"})
    refused("movielens", put(tmp_path / "s" / name, content), tmp_path / "o", name, told)


def test_a_zip_cut_in_the_middle(tmp_path):
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as archive:
        for name, data in ML_1M.items():
            archive.writestr(name, data)
    whole = (tmp_path / "ml.zip").read_bytes()
    put(tmp_path / "ml.zip", whole[: len(whole) // 2])
    refused("movielens", tmp_path / "ml.zip", tmp_path / "o", "ml.zip", "damaged or cut short")


@pytest.mark.parametrize("mode", ["w:gz", "w", "w:bz2", "w:xz"])
def test_a_tar_archive_is_read(tmp_path, mode):
    name = f"movielens.tar{mode[1:].replace(':', '.')}"
    files = {**ML_1M, "__MACOSX/ml-1m/._ratings.dat": "x"}
    source = tar(tmp_path / name, files, mode)
    _, told, tables = accepted("movielens", source, tmp_path / "o")
    assert len(events(tables)) == 2
    assert told["files"] == ["ml-1m/ratings.dat", "ml-1m/movies.dat"]


def test_a_tar_archive_cut_short(tmp_path):
    files = {
        name: text if isinstance(text, bytes) else text.encode() for name, text in ML_1M.items()
    }
    whole = tar(tmp_path / "a.tar.gz", {**files, "big": bytes(range(256)) * 4000}).read_bytes()
    source = put(tmp_path / "ml.tar.gz", whole[: len(whole) // 2])
    refused("movielens", source, tmp_path / "o", "ml.tar.gz")


def test_the_named_file_decides_the_format(tmp_path):
    both = {"ratings.dat": "1::1193::5::978300760\n", "movies.dat": "1193::T::Drama\n", **ML_100K}
    source = write(tmp_path / "s", both)
    _, told, tables = accepted("movielens", source / "u.data", tmp_path / "o")
    assert events(tables) == [("196", "242", 881250949, "rate_3")]
    assert told["files"] == ["u.data", "u.genre", "u.item"]
    refused("movielens", source, tmp_path / "o2", "several sets", "ratings.dat", "u.data")
    refused("movielens", source / "movies.dat", tmp_path / "o3", "movies.dat: is none")


def test_two_sets_are_never_mixed(tmp_path):
    source = write(tmp_path / "s", {"a/ratings.dat": ML_1M["ml-1m/ratings.dat"]})
    write(source, {"b/movies.dat": ML_1M["ml-1m/movies.dat"]})
    refused("movielens", source, tmp_path / "o", "none of movies.dat found", "a/ratings.dat")
    write(source, {"b/ratings.dat": ML_1M["ml-1m/ratings.dat"]})
    refused("movielens", source, tmp_path / "o", "several sets")


def test_samples_below_a_set_are_not_the_set(tmp_path):
    files = {**GOODBOOKS, "samples/ratings.csv": "user_id,book_id,rating\n1,1,1\n"}
    _, told, tables = accepted("goodbooks", write(tmp_path / "s", files), tmp_path / "o")
    assert len(events(tables)) == 3
    assert not any(name.startswith("samples") for name in told["files"])
    assert any("1 repeated ratings left out" in note for note in told["notes"])


@pytest.mark.parametrize("mark", ["\u2028", "\u0085", "\v", "\f", "\x1c"])
@pytest.mark.parametrize(
    ("name", "files", "file", "text"),
    [
        ("movielens", ML_1M, "ml-1m/movies.dat", "1193::One{}Flew::Drama\n661::X::Drama\n"),
        ("movielens", ML_100K, "u.item", "242|One{}Flew|24-Jan-1997||http://x|0|0|1\n"),
        ("movielens", ML_CSV, "movies.csv", "movieId,title,genres\n1,One{}Flew,Drama\n3,X,Drama\n"),
    ],
)
def test_separators_of_other_kinds_stay_in_titles(tmp_path, mark, name, files, file, text):
    source = write(tmp_path / "s", {**files, file: text.format(mark)})
    _, _, tables = accepted(name, source, tmp_path / "o")
    assert tables["items"][0]["title"] == f"One{mark}Flew"
    assert tables["items"][0]["topics"] == ["Drama"]


ITEM, FILMS = ML_100K["u.item"], "movieId,title,genres\n"
DAT, OLD = "movies.dat", "ratings.dat"
MALFORMED = [
    ("movielens", ML_100K, "u.item", ITEM + "\n" + ITEM, "u.item:2: is blank"),
    ("movielens", ML_100K, "u.item", ITEM + " \n", "u.item:2: is blank"),
    ("movielens", ML_100K, "u.item", ITEM + "83\n", "u.item:2: has 1 of 8 fields"),
    ("movielens", ML_100K, "u.genre", "unknown|0\nAction\n", "u.genre:2: has 1 of 2"),
    ("movielens", ML_100K, "u.data", "1\t2\t3\t4\n\n1\t2\t3\t4\n", "u.data:2: is blank"),
    ("movielens", ML_100K, "u.data", "1\t2\t3\t4\n1\t2\n", "u.data:2: has 2 of 4"),
    ("movielens", ML_1M, DAT, "1::T::D\n83\n", "movies.dat:2: has 1 of 3"),
    ("movielens", ML_1M, DAT, "1::T::D\r2::S::D\r\n", "movies.dat:1: holds a carriage return"),
    ("movielens", ML_1M, DAT, "1::T::D2::S::D\n", "movies.dat:1: has 5 of 3"),
    ("movielens", ML_1M, OLD, "1::2::3::4\n1::2::3\n", "ratings.dat:2: has 3 of 4"),
    ("movielens", ML_1M, OLD, "1::::3::4\n", "item_id of data row 1 is empty"),
    ("movielens", ML_CSV, "movies.csv", FILMS + "1,T,D\n83\n", "movies.csv:3: has 1 of 3"),
    ("movielens", ML_CSV, "movies.csv", FILMS + "1,T,D\n\n2,T,D\n", "movies.csv:3: is blank"),
    ("movielens", ML_CSV, "movies.csv", FILMS.encode() + b"1,\xe9,D\n", ":2: is not UTF-8"),
    ("movielens", ML_CSV, "movies.csv", PAGE, "movies.csv: is an HTML"),
    ("movielens", ML_CSV, "movies.csv", "movieId,title\n1,T\n", "has no column 'genres'"),
    ("movielens", ML_CSV, "ratings.csv", "", "ratings.csv:1: the file has no header"),
    ("amazon_sequence", AMAZON, "Beauty.txt", "1 2\n\n3 4\n", "Beauty.txt:2: is blank"),
    ("amazon_sequence", AMAZON, "Beauty.txt", "1 2\n3\n", "Beauty.txt:2: names a user"),
    ("movielens", ML_CSV, "movies.csv", FILMS + ",T,D\n", "an item has no id"),
    ("amazon_sequence", AMAZON, "Beauty_item2attributes.json", '{"3": 1, "3": 2}', "'3' is there"),
    ("amazon_sequence", AMAZON, "Beauty.txt", "", "Beauty.txt: the file is empty"),
    ("zhihurec", ZHIHU, "info_user.csv", "1,2\n", "info_user.csv:1: has 2 of 27 fields"),
]


@pytest.mark.parametrize(("name", "files", "file", "text", "told"), MALFORMED)
def test_a_malformed_line_is_named(tmp_path, name, files, file, text, told):
    files = {key.removeprefix("ml-1m/"): content for key, content in files.items()}
    source = write(tmp_path / "s", {**files, file: text})
    refused(name, source, tmp_path / "o", told)


def test_a_quote_that_swallows_films(tmp_path):
    films = 'movieId,title,genres\n1,T,D\n2,"Open,D\n3,T,D\n4,"Also,D\n5,T,D\n'
    source = write(tmp_path / "s", {**ML_CSV, "movies.csv": films})
    refused("movielens", source, tmp_path / "o", "movies.csv:3:")


def test_a_title_of_two_lines_is_read(tmp_path):
    films = 'movieId,title,genres\n1,"One\nFlew, once",D\n3,T,D\n'
    source = write(tmp_path / "s", {**ML_CSV, "movies.csv": films})
    _, _, tables = accepted("movielens", source, tmp_path / "o")
    assert tables["items"][0]["title"] == "One\nFlew, once"


def test_blank_lines_at_the_end_do_not_count(tmp_path):
    files = {name: text + "\n\n" for name, text in {**ML_CSV, **ML_100K}.items()}
    csv_files = {name: files[name] for name in ML_CSV}
    accepted("movielens", write(tmp_path / "a", csv_files), tmp_path / "o")
    accepted("movielens", write(tmp_path / "b", {n: files[n] for n in ML_100K}), tmp_path / "p")


@pytest.mark.parametrize("value", ["3", '["3"]', "[3]", '"3"'])
def test_a_single_attribute_is_a_list_of_one(tmp_path, value):
    files = {**AMAZON, "Beauty_item2attributes.json": f'{{"3": [1], "4": [], "5": {value}}}'}
    _, _, tables = accepted("amazon_sequence", write(tmp_path / "s", files), tmp_path / "o")
    assert topics(tables)["5"] == ["attribute_3"]


def test_attributes_that_are_no_numbers(tmp_path):
    files = {**AMAZON, "Beauty_item2attributes.json": '{"3": {"a": 1}}'}
    refused("amazon_sequence", write(tmp_path / "s", files), tmp_path / "o", "'3'", "attributes")


@pytest.mark.parametrize("text", ["1 5 3\n2 3\n1 4\n", "1 5\n1\t3\r\n2 3\r\n1  4 \r\n"])
def test_a_user_that_comes_twice_goes_on(tmp_path, text):
    source = write(tmp_path / "s", {**AMAZON, "Beauty.txt": text})
    _, _, tables = accepted("amazon_sequence", source, tmp_path / "o")
    assert [e[:3] for e in events(tables) if e[0] == "1"] == [
        ("1", "5", 0),
        ("1", "3", 1),
        ("1", "4", 2),
    ]
    assert [e[:3] for e in events(tables) if e[0] == "2"] == [("2", "3", 0)]


@pytest.mark.parametrize(
    "header",
    [
        '"user_id","book_id","rating"',
        "\ufeffuser_id,book_id,rating",
        '\ufeff"user_id","book_id","rating"',
        "user_id, Book_Id ,rating",
    ],
)
def test_headers_are_compared_after_parsing(tmp_path, header):
    rows = GOODBOOKS["ratings.csv"].partition("\n")[2]
    source = write(tmp_path / "s", {**GOODBOOKS, "ratings.csv": f"{header}\n{rows}"})
    said, _, tables = accepted("goodbooks", source, tmp_path / "o")
    assert "no order" not in said
    assert [e[:3] for e in events(tables)] == [("7", "2", 0), ("8", "1", 0), ("7", "1", 1)]


TAGS = "goodreads_book_id,tag_id,count\n27.0,2,50\n"
UNMET = [
    ("movielens", ML_1M, "ml-1m/ratings.dat", "1::1193.0::5::978300760\n", "1193.0", "1193"),
    ("movielens", ML_CSV, "movies.csv", FILMS + "1.0,T,D\n3.0,T,D\n", "1", "1.0"),
    ("goodbooks", GOODBOOKS, "book_tags.csv", TAGS, "27.0", "27"),
    ("goodbooks", GOODBOOKS, "to_read.csv", "user_id,book_id\n7,1.0\n", "1.0", "1"),
    ("amazon_sequence", AMAZON, "Beauty.txt", "1 05 3\n", "05", "5"),
    ("movietweetings", {DAT: "007::T::D\n"}, OLD, "1::7::9::1381945744\n", "7", "007"),
]


@pytest.mark.parametrize(("name", "files", "file", "text", "here", "there"), UNMET)
def test_ids_that_do_not_meet_are_told_with_both_examples(
    tmp_path, name, files, file, text, here, there
):
    said, told, _ = accepted(name, write(tmp_path / "s", {**files, file: text}), tmp_path / "o")
    assert "warning: " in said and len(told["warnings"]) >= 1
    assert f"{here!r} here, {there!r} there" in said


@pytest.mark.parametrize("text", ["978300760000", "20240630", "9999999999"])
def test_times_that_cannot_be_are_told(tmp_path, text):
    rows = f"1::1193::5::978300760\n1::661::5::{text}\n"
    write(tmp_path / "s", {**ML_1M, "ml-1m/ratings.dat": rows})
    code, said = call("movielens", tmp_path / "s", tmp_path / "o")
    assert code == 0
    assert "warning: 1 of 2 times are no seconds since 1970" in said
    assert f"for example {text}" in said


def test_an_item_that_comes_twice_is_counted(tmp_path):
    films = "1193::First::Drama\n1193::Second::Drama\n661::X::Drama\n"
    source = write(tmp_path / "s", {**ML_1M, "ml-1m/movies.dat": films})
    said, _, tables = accepted("movielens", source, tmp_path / "o")
    assert [row["title"] for row in tables["items"]] == ["First", "X"]
    assert "1 rows of items named before left out" in said


def test_compressed_files_are_told_by_content(tmp_path):
    rows = gzip.compress(gzip.compress(ML_1M["ml-1m/ratings.dat"].encode())) + b"\0" * 512
    films = ML_1M["ml-1m/movies.dat"]
    source = write(tmp_path / "s", {"ratings.dat.gz": rows, "movies.dat": films})
    _, _, tables = accepted("movielens", source / "ratings.dat.gz", tmp_path / "o")
    assert len(events(tables)) == 2
    cut = gzip.compress(ML_1M["ml-1m/ratings.dat"].encode() * 99)[:40]
    write(source, {"ratings.dat.gz": cut})
    refused("movielens", source, tmp_path / "p", "ratings.dat.gz")
