"""Small public data sets in their real layouts, and how tests import them."""

import json

from input_tables.config import DataConfig
from input_tables.importers import import_tables
from input_tables.layout import check_headers, find_tables, read_settings
from input_tables.reading import read_table
from tests.input_tables.tiny import put


def write(root, files):
    for name, text in files.items():
        put(root / name, text if isinstance(text, bytes) else text.encode())
    return root


def imported(name, source, out, **options):
    """Imports and reads back; returns (summary, {table: rows}) with texts for bytes."""
    summary = import_tables(name, source, out, **options)
    assert json.loads((out / "source.json").read_text()) == summary
    return summary, read_back(out, summary["time_unit"])


def read_back(out, time_unit="seconds"):
    """Returns {table: rows}, every row good."""
    found = find_tables(DataConfig(root=str(out)))
    check_headers(found)
    checks = read_settings(found, time_unit)
    tables = {}
    for file in found.files:
        rows = tables.setdefault(file.table, [])
        for batch, letters in read_table(file.path, file.table, checks):
            assert letters == []
            rows += [{k: text(v) for k, v in row.items()} for row in batch.to_pylist()]
    return tables


def text(value):
    if isinstance(value, list):
        return [text(v) for v in value]
    return value.decode() if isinstance(value, bytes) else value


def events(tables):
    return [
        (r["user_id"], r["item_id"], r["timestamp"], r["action"]) for r in tables["engagements"]
    ]


def topics(tables):
    return {row["item_id"]: row["topics"] for row in tables["items"]}


ML_1M = {
    "ml-1m/ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n",
    "ml-1m/movies.dat": b"1193::One Flew (1975)::Drama\n"
    + "661::Misérables, Les: a::Animation|Children's\n".encode("latin-1"),
}
ML_CSV = {
    "ratings.csv": "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,3,4.5,964981247\n",
    "movies.csv": 'movieId,title,genres\n1,"Toy, Story",Adventure|Comedy\n3,X,(no genres listed)\n',
}
ML_100K = {
    "u.data": "196\t242\t3\t881250949\n",
    "u.item": "242|Kolya (1996)|24-Jan-1997||http://x|0|1|1\n",
    "u.genre": "unknown|0\nAction|1\nDrama|2\n\n",
}


BOOKS = "book_id,goodreads_book_id,authors,title\n1,27,A,One\n2,28,B,Two\n3,29,C,Three\n"
GOODBOOKS = {
    "ratings.csv": "user_id,book_id,rating\n7,2,5\n8,1,3\n7,1,4\n7,2,5\n",
    "to_read.csv": "user_id,book_id\n7,1\n7,3\n8,2\n",
    "books.csv": BOOKS,
    "tags.csv": "tag_id,tag_name\n1,to-read\n2,fantasy\n3,magic\n4,favorites\n5,war\n",
    "book_tags.csv": "goodreads_book_id,tag_id,count\n27,1,900\n27,2,50\n29,2,70\n29,3,9\n28,5,3\n"
    "99,2,1\n",
}


AMAZON = {
    "Beauty.txt": "1 5 3 4\n2 3\n",
    "Beauty_item2attributes.json": '{"3": [1, 2], "4": [2], "5": []}',
    "Beauty_sample.txt": "1 9 9\n",
}


def line(width, **values):
    cells = ["0"] * width
    for position, value in values.items():
        cells[int(position[1:])] = value
    return ",".join(cells) + "\n"


ZHIHU = {
    "inter_impression.csv": "0,10,1525276898,0\n0,11,1525276898,1525276905\n1,11,1525276999,5\n",
    "info_user.csv": line(27, c0="0", c26="4 5") + line(27, c0="1", c26=""),
    "info_answer.csv": line(18, c0="10", c1="77", c6="0", c17="4")
    + line(18, c0="11", c1="78", c6="1500000000", c17=""),
    "info_question.csv": line(8, c0="78", c7="5 6"),
}
