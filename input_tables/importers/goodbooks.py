"""goodbooks-10k: `ratings.csv`, `to_read.csv`, `books.csv`, `book_tags.csv` + `tags.csv`.

Two releases exist. The later one (ratings: user_id, book_id, rating) is sorted by
time; the first one (book_id, user_id, rating) has lost its order, so a fixed
pseudo-random order stands in and temporal figures mean nothing. Neither has
timestamps: `timestamp` is the position in the user's own order.

Topics are the strongest tags of a book, or its genres when `book_genres.csv` is
there. Follows are the to-read list lifted to topics, never the ratings.
"""

from __future__ import annotations

import re
import zlib

import numpy as np
import pandas as pd
import pyarrow as pa

from core.errors import DataError
from input_tables.importers.base import Imported, Importer, filled, rate_action
from input_tables.importers.delimited import header, read_columns
from input_tables.importers.lifting import lift_to_topics
from input_tables.importers.meeting import unmet
from input_tables.importers.source import Source

_TAGS_PER_BOOK = 10
_MIN_BOOKS_PER_TAG = 5
#: Shelves that say what a reader did, not what a book is about.
_SHELF = re.compile(
    r"read|own|favou?rite|book-?club|library|kindle|audio|e-?book|shel[fv]|wish|buy"
)
_MIN_ITEMS, _MAX_TOPICS = 2, 5


def read(source: Source) -> Imported:
    """Reads either release."""
    engagements, notes = _ratings(source)
    books = _books(source)
    warnings: list[str | None] = []
    genres = source.find("book_genres.csv")
    topics = _genres(source, genres) if genres else _tags(source, books, warnings)
    items = pa.table(
        {
            "item_id": pa.array(books["item_id"], pa.string()),
            "topics": pa.array(
                [topics.get(book, []) for book in books["item_id"]], pa.list_(pa.string())
            ),
            "title": pa.array(books["title"], pa.string()),
        }
    )
    to_read = read_columns(source, source.require("to_read.csv"), ["user_id", "book_id"])
    warnings.append(unmet(to_read["book_id"], items["item_id"], "books of to_read", "books.csv"))
    raters = engagements["user_id"]
    warnings.append(unmet(to_read["user_id"], raters, "users of to_read", "ratings.csv"))
    pairs = to_read.to_pandas().rename(columns={"book_id": "item_id"})
    follows = lift_to_topics(pairs, items, _MIN_ITEMS, _MAX_TOPICS)
    notes.append("follows: to-read list lifted to topics, undated")
    told = tuple(warning for warning in warnings if warning)
    return Imported(engagements, items, follows, "order", tuple(notes), told)


def _ratings(source: Source) -> tuple[pa.Table, list[str]]:
    """Returns engagements and notes on their order and on ratings given twice."""
    name = source.main("ratings.csv")
    table = read_columns(source, name, ["user_id", "book_id", "rating"])
    for column in table.column_names:
        filled(table, column, source.where(name))
    every = table.to_pandas()
    frame = every.drop_duplicates(["user_id", "book_id"])
    notes = []
    if len(frame) < len(every):
        notes.append(f"{len(every) - len(frame):,} repeated ratings left out (user and book twice)")
    if header(source, name)[0].strip().lower() != "user_id":
        notes.append("this release has no order; timestamps are a fixed pseudo-random order")
        keys = frame["user_id"] + "/" + frame["book_id"]
        shuffled = np.array([zlib.crc32(key.encode()) for key in keys])
        frame = frame.iloc[np.argsort(shuffled, kind="stable")]
    position = frame.groupby("user_id").cumcount()
    rating = pa.chunked_array([pa.array(frame["rating"], pa.string())])
    columns = {
        "user_id": pa.array(frame["user_id"], pa.string()),
        "item_id": pa.array(frame["book_id"], pa.string()),
        "timestamp": pa.array(position, pa.int64()),
        "action": rate_action(rating),
    }
    return pa.table(columns), notes


def _books(source: Source) -> pd.DataFrame:
    """Returns item_id, goodreads and title; the first release calls them id and book_id."""
    name = source.require("books.csv")
    columns = [column.strip().lower() for column in header(source, name)]
    item, goodreads = ("id", "book_id") if "id" in columns else ("book_id", "goodreads_book_id")
    title = "title" if "title" in columns else "original_title"
    frame = read_columns(source, name, [item, goodreads, title]).to_pandas()
    frame.columns = pd.Index(["item_id", "goodreads", "title"])
    return frame


def _genres(source: Source, name: str) -> dict[str, list[str]]:
    frame = read_columns(source, name, ["book_id", "genres"]).to_pandas()
    split = frame["genres"].str.strip("[]").str.split(r"[|,;]")
    clean = [[word.strip(" '\"") for word in words] for words in split]
    pairs = zip(frame["book_id"], clean, strict=True)
    return {book: [word for word in words if word] for book, words in pairs}


def _tags(source: Source, books: pd.DataFrame, warnings: list[str | None]) -> dict[str, list[str]]:
    if source.find("book_tags.csv") is None or source.find("tags.csv") is None:
        raise DataError(
            f"{source.path}: no topics; expected book_genres.csv, or book_tags.csv and tags.csv"
        )
    columns = ["goodreads_book_id", "tag_id", "count"]
    tags = read_columns(source, source.require("book_tags.csv"), columns).to_pandas()
    words = read_columns(source, source.require("tags.csv"), ["tag_id", "tag_name"]).to_pandas()
    numbers = pa.array(books["goodreads"], pa.string())
    warnings.append(_unmet_tags(tags, "goodreads_book_id", numbers, "books.csv"))
    warnings.append(_unmet_tags(tags, "tag_id", pa.array(words["tag_id"], pa.string()), "tags.csv"))
    words = words[~words["tag_name"].str.contains(_SHELF)]
    tags["count"] = pd.to_numeric(tags["count"], errors="coerce").fillna(0)
    joined = tags.merge(words, on="tag_id").merge(
        books, left_on="goodreads_book_id", right_on="goodreads"
    )
    joined = joined.sort_values(["item_id", "count", "tag_name"], ascending=[True, False, True])
    joined = joined.drop_duplicates(["item_id", "tag_name"])
    used = joined["tag_name"].map(joined["tag_name"].value_counts())
    joined = joined[used >= min(_MIN_BOOKS_PER_TAG, used.max())]
    top = joined.groupby("item_id").head(_TAGS_PER_BOOK)
    return top.groupby("item_id")["tag_name"].agg(list).to_dict()


def _unmet_tags(tags: pd.DataFrame, column: str, known: pa.Array, where: str) -> str | None:
    return unmet(pa.array(tags[column], pa.string()), known, f"{column} of book_tags", where)


IMPORTER = Importer(
    "goodbooks", "goodbooks-10k", "ratings, to_read, books, book_tags + tags | book_genres", read
)
