"""MovieLens (GroupLens): 1M (`ratings.dat`), 10M, 20M to 32M (`ratings.csv`), 100K (`u.data`).

Topics are genres. The sets hold no follows.
"""

from __future__ import annotations

import pyarrow as pa

from input_tables.importers.base import (
    Imported,
    Importer,
    Source,
    double_colon,
    ratings,
    read_columns,
)

_RATING = ("user_id", "item_id", "rating", "timestamp")
_NO_GENRE = "(no genres listed)"


def read(source: Source) -> Imported:
    """Reads whichever of the three formats is there."""
    name = source.require("ratings.dat", "ratings.csv", "u.data")
    if name.endswith(("ratings.csv", "ratings.csv.gz")):
        columns = ["userId", "movieId", "rating", "timestamp"]
        table = read_columns(source, name, columns).rename_columns(_RATING)
        items = _movies_csv(source)
    elif name.endswith("u.data"):
        table = read_columns(source, name, _RATING, names=_RATING, delimiter="\t")
        items = _u_item(source)
    else:
        table = double_colon(source, name, _RATING)
        items = movies_dat(source)
    return Imported(ratings(table, source.where(name)), items, None, "seconds")


def movies_dat(source: Source) -> pa.Table:
    """Reads `id::title::genre|genre` lines."""
    lines = source.text(source.require("movies.dat")).splitlines()
    rows = [line.split("::") for line in lines if line]
    return items_table(
        [row[0] for row in rows],
        [row[1] if len(row) > 1 else "" for row in rows],
        [row[2] if len(row) > 2 else "" for row in rows],
    )


def items_table(ids: list[str], titles: list[str], genres: list[str]) -> pa.Table:
    """Returns items from parallel lists; genres are joined by `|`."""
    topics = [
        [genre.strip() for genre in joined.split("|") if genre.strip() not in ("", _NO_GENRE)]
        for joined in genres
    ]
    return pa.table(
        {"item_id": ids, "topics": pa.array(topics, pa.list_(pa.string())), "title": titles}
    )


def _movies_csv(source: Source) -> pa.Table:
    table = read_columns(source, source.require("movies.csv"), ["movieId", "title", "genres"])
    return items_table(*(table[name].to_pylist() for name in ("movieId", "title", "genres")))


def _u_item(source: Source) -> pa.Table:
    """Reads `id|title|date|video date|url|flag...`, the flags named by `u.genre`."""
    names = [
        line.split("|")[0]
        for line in source.text(source.require("u.genre")).splitlines()
        if "|" in line
    ]
    rows = [line.split("|") for line in source.text(source.require("u.item")).splitlines() if line]
    genres = [
        "|".join(n for n, flag in zip(names, row[5:], strict=False) if flag.strip() == "1")
        for row in rows
    ]
    return items_table([row[0] for row in rows], [row[1] for row in rows], genres)


IMPORTER = Importer("movielens", "MovieLens", "ratings.dat|ratings.csv|u.data, movies", read)
