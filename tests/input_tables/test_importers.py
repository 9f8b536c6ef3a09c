import json
import os
import zipfile

import pytest

from core.errors import ConfigError, DataError
from input_tables.importers import IMPORTERS, Source, import_tables
from input_tables.importers.delimited import read_columns
from tests.input_tables.public_sets import (
    AMAZON,
    GOODBOOKS,
    ML_1M,
    ML_100K,
    ML_CSV,
    ZHIHU,
    events,
    imported,
    topics,
    write,
)
from tests.input_tables.tiny import put


def test_movielens_1m(tmp_path):
    _, tables = imported("movielens", write(tmp_path / "s", ML_1M), tmp_path / "o")
    assert events(tables) == [
        ("1", "1193", 978300760, "rate_5"),
        ("2", "661", 978302109, "rate_3"),
    ]
    assert topics(tables) == {"1193": ["Drama"], "661": ["Animation", "Children's"]}
    assert tables["items"][1]["title"] == "Misérables, Les: a"
    assert "follows" not in tables


def test_movielens_csv(tmp_path):
    _, tables = imported("movielens", write(tmp_path / "s", ML_CSV), tmp_path / "o")
    assert [event[3] for event in events(tables)] == ["rate_4", "rate_4.5"]
    assert topics(tables) == {"1": ["Adventure", "Comedy"], "3": []}


def test_movielens_100k(tmp_path):
    _, tables = imported("movielens", write(tmp_path / "s", ML_100K), tmp_path / "o")
    assert events(tables) == [("196", "242", 881250949, "rate_3")]
    assert topics(tables) == {"242": ["Action", "Drama"]}


def test_a_zip_is_read_in_place(tmp_path):
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as archive:
        for name, data in ML_1M.items():
            archive.writestr(name, data)
    _, tables = imported("movielens", tmp_path / "ml.zip", tmp_path / "o", file_format="csv")
    assert len(events(tables)) == 2


def test_movietweetings_keeps_leading_zeros(tmp_path):
    files = {
        "latest/ratings.dat": "1::0054890::9::1381945744\n",
        "latest/movies.dat": "0054890::Le gros coup (1964)::Crime|Drama\n0000008::Film (1894)::\n",
    }
    _, tables = imported("movietweetings", write(tmp_path / "s", files), tmp_path / "o")
    assert events(tables) == [("1", "0054890", 1381945744, "rate_9")]
    assert topics(tables) == {"0054890": ["Crime", "Drama"], "0000008": []}


def test_goodbooks_tags_and_to_read(tmp_path):
    summary, tables = imported("goodbooks", write(tmp_path / "s", GOODBOOKS), tmp_path / "o")
    assert summary["time_unit"] == "order"
    assert events(tables) == [
        ("7", "2", 0, "rate_5"),
        ("8", "1", 0, "rate_3"),
        ("7", "1", 1, "rate_4"),
    ]
    assert topics(tables)["1"] == ["fantasy"]
    follows = [(r["user_id"], r["topic"], r["timestamp"]) for r in tables["follows"]]
    assert follows == [("7", "fantasy", None)]


def test_goodbooks_first_release_with_genres(tmp_path):
    files = {
        "ratings.csv": "book_id,user_id,rating\n1,7,5\n2,7,4\n3,7,3\n",
        "to_read.csv": GOODBOOKS["to_read.csv"],
        "books.csv": 'id,book_id,authors,title\n1,27,A,"One, two"\n2,28,B,Two\n3,29,C,Three\n',
        "book_genres.csv": "book_id,goodreads_book_id,genres\n1,27,classics|magic\n"
        "3,29,\"['magic', 'war']\"\n",
    }
    summary, tables = imported("goodbooks", write(tmp_path / "s", files), tmp_path / "o")
    assert sorted(r["timestamp"] for r in tables["engagements"]) == [0, 1, 2]
    assert topics(tables) == {"1": ["classics", "magic"], "2": [], "3": ["magic", "war"]}
    assert [r["topic"] for r in tables["follows"]] == ["magic"]
    assert any("pseudo-random" in note for note in summary["notes"])


def test_amazon_sequences(tmp_path):
    _, tables = imported("amazon_sequence", write(tmp_path / "s", AMAZON), tmp_path / "o")
    assert events(tables) == [
        ("1", "5", 0, "review"),
        ("1", "3", 1, "review"),
        ("1", "4", 2, "review"),
        ("2", "3", 0, "review"),
    ]
    assert topics(tables) == {"3": ["attribute_1", "attribute_2"], "4": ["attribute_2"], "5": []}


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("Beauty_id2attribute.json", {"1": "OPI", "2": "Nails"}),
        ("attribute2id.json", {"OPI": 1, "Nails": 2}),
    ],
)
def test_amazon_attribute_names(tmp_path, name, names):
    source = write(tmp_path / "s", {**AMAZON, name: json.dumps(names)})
    _, tables = imported("amazon_sequence", source, tmp_path / "o")
    assert topics(tables)["3"] == ["OPI", "Nails"]


def test_one_of_several_amazon_sets(tmp_path):
    more = {"Toys.txt": "1 7\n", "Toys_item2attributes.json": "{}"}
    source = write(tmp_path / "s", {**AMAZON, **more})
    with pytest.raises(DataError, match="several sets"):
        import_tables("amazon_sequence", source, tmp_path / "o")
    _, tables = imported("amazon_sequence", source / "Toys.txt", tmp_path / "o")
    assert events(tables) == [("1", "7", 0, "review")]


def test_zhihurec(tmp_path):
    _, tables = imported("zhihurec", write(tmp_path / "s", ZHIHU), tmp_path / "o")
    assert events(tables) == [
        ("0", "10", 1525276898, "skip"),
        ("0", "11", 1525276905, "click"),
        ("1", "11", 1525276999, "click"),
    ]
    assert topics(tables) == {"10": ["4"], "11": ["5", "6"]}
    assert [row["created_at"] for row in tables["items"]] == [None, 1500000000]
    follows = [(r["user_id"], r["topic"], r["timestamp"]) for r in tables["follows"]]
    assert follows == [("0", "4", None), ("0", "5", None)]


def test_derived_follows_come_from_the_first_half_only(tmp_path):
    lines = "".join(f"1::{n}::5::{100 + n}\n" for n in range(6))
    films = "".join(f"{n}::T::{'A' if n < 2 else 'B'}\n" for n in range(6))
    source = write(tmp_path / "s", {"ratings.dat": lines, "movies.dat": films})
    _, tables = imported("movielens", source, tmp_path / "o", derived_follows=True)
    follows = [(r["user_id"], r["topic"], r["timestamp"]) for r in tables["follows"]]
    assert follows == [("1", "A", 101)]


@pytest.mark.parametrize(
    ("name", "files", "missing"),
    [
        ("movielens", {"x.txt": ""}, "ratings.dat"),
        ("movietweetings", {"ratings.dat": "1::2::3::4\n"}, "movies.dat"),
        ("goodbooks", {"ratings.csv": GOODBOOKS["ratings.csv"]}, "books.csv"),
        ("amazon_sequence", {"Beauty.txt": "1 2\n"}, "item2attributes"),
        ("zhihurec", {"info_user.csv": ZHIHU["info_user.csv"]}, "inter_impression.csv"),
    ],
)
def test_a_missing_file_is_named_and_nothing_is_written(tmp_path, name, files, missing):
    source = write(tmp_path / "s", files)
    with pytest.raises(DataError, match=missing):
        import_tables(name, source, tmp_path / "o")
    assert os.listdir(tmp_path) == ["s"]


@pytest.mark.parametrize(
    ("name", "file", "content", "told"),
    [
        ("movielens", "ml-1m/ratings.dat", "1::2::3::x\n", "timestamp of data row 1"),
        ("movielens", "ml-1m/ratings.dat", "1::2::3\n", "ratings.dat"),
        ("movielens", "ml-1m/ratings.dat", "", "ratings.dat"),
        ("amazon_sequence", "Beauty_item2attributes.json", "{", "not JSON"),
        ("amazon_sequence", "Beauty.txt", "1\n", "a user without items"),
        ("zhihurec", "inter_impression.csv", "0,10,x,0\n", "impression of data row 1"),
        ("goodbooks", "ratings.csv", "user_id,rating\n1,2\n", "book_id"),
    ],
)
def test_a_malformed_file_is_one_clear_error(tmp_path, name, file, content, told):
    good = {"movielens": ML_1M, "amazon_sequence": AMAZON, "zhihurec": ZHIHU}
    source = write(tmp_path / "s", {**good.get(name, GOODBOOKS), file: content})
    with pytest.raises(DataError, match=told):
        import_tables(name, source, tmp_path / "o")


def test_an_unknown_set_gets_a_hint(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'movielens'"):
        import_tables("movielense", tmp_path, tmp_path / "o")


def test_a_source_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="not found"):
        import_tables("movielens", tmp_path / "none", tmp_path / "o")


def test_every_importer_says_what_it_reads():
    assert all(i.title and i.files and name == i.name for name, i in IMPORTERS.items())


@pytest.mark.parametrize("delimiter", [",", "\t", "::"])
def test_a_header_is_read_with_the_delimiter_of_its_file(tmp_path, delimiter):
    rows = (("id", "name"), ("7", "x y"))
    put(tmp_path / "t.dat", "".join(delimiter.join(row) + "\n" for row in rows).encode())
    table = read_columns(Source(tmp_path), "t.dat", ["name", "id"], delimiter=delimiter)
    assert table.to_pylist() == [{"name": "x y", "id": "7"}]
