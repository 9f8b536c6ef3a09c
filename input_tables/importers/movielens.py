"""MovieLens (GroupLens): 1M (`ratings.dat`), 10M, 20M to 32M (`ratings.csv`), 100K (`u.data`).

Topics are genres. The sets hold no follows.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from input_tables.importers.base import Imported, Importer, ratings
from input_tables.importers.delimited import read_columns, split_lines
from input_tables.importers.source import Source

_RATING = ("user_id", "item_id", "rating", "timestamp")
_NO_GENRE = "(no genres listed)"
_PLAIN_COLUMNS = 5


def read(source: Source) -> Imported:
    """Reads whichever of the three formats is there, or the one of the file that was named."""
    name = source.main("ratings.dat", "ratings.csv", "u.data")
    base = name.rpartition("/")[2].lower()
    if base.startswith("ratings.csv"):
        columns = ["userId", "movieId", "rating", "timestamp"]
        table = read_columns(source, name, columns).rename_columns(_RATING)
        items = _movies_csv(source)
    elif base.startswith("u.data"):
        table = read_columns(source, name, _RATING, names=_RATING, delimiter="\t")
        items = _u_item(source)
    else:
        table = read_columns(source, name, _RATING, names=_RATING, delimiter="::")
        items = movies_dat(source)
    return Imported(ratings(table, source.where(name)), items, None, "seconds")


def movies_dat(source: Source) -> pa.Table:
    """Reads `id::title::genre|genre` lines."""
    rows = split_lines(source, source.require("movies.dat"), "::", 3, free=1)
    return items_table(*([row[n] for row in rows] for n in range(3)))


def items_table(ids: Sequence[str], titles: Sequence[str], genres: Sequence[str]) -> pa.Table:
    """Returns items from parallel lists; genres are joined by `|`."""
    topics = [
        [genre.strip() for genre in joined.split("|") if genre.strip() not in ("", _NO_GENRE)]
        for joined in genres
    ]
    return pa.table(
        {
            "item_id": pa.array(ids, pa.string()),
            "topics": pa.array(topics, pa.list_(pa.string())),
            "title": pa.array(titles, pa.string()),
        }
    )


def _movies_csv(source: Source) -> pa.Table:
    table = read_columns(source, source.require("movies.csv"), ["movieId", "title", "genres"])
    return items_table(*(table[name].to_pylist() for name in ("movieId", "title", "genres")))


def _u_item(source: Source) -> pa.Table:
    """Reads `id|title|date|video date|url|flag...`, the flags named by `u.genre`."""
    names = [row[0] for row in split_lines(source, source.require("u.genre"), "|", 2)]
    width = _PLAIN_COLUMNS + len(names)
    rows = split_lines(source, source.require("u.item"), "|", width)
    genres = [
        "|".join(n for n, flag in zip(names, row[_PLAIN_COLUMNS:], strict=True) if flag == "1")
        for row in rows
    ]
    return items_table([row[0] for row in rows], [row[1] for row in rows], genres)


IMPORTER = Importer("movielens", "MovieLens", "ratings.dat|ratings.csv|u.data, movies", read)
