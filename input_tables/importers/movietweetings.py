"""MovieTweetings: `ratings.dat` and `movies.dat` with `::` between fields.

IMDb ids keep their leading zeros. Topics are genres; the set holds no follows.
"""

from __future__ import annotations

from input_tables.importers.base import Imported, Importer, ratings
from input_tables.importers.delimited import read_columns
from input_tables.importers.movielens import movies_dat
from input_tables.importers.source import Source

_RATING = ("user_id", "item_id", "rating", "timestamp")


def read(source: Source) -> Imported:
    """Reads one snapshot, for example the folder `latest`."""
    name = source.main("ratings.dat")
    table = read_columns(source, name, _RATING, names=_RATING, delimiter="::")
    return Imported(ratings(table, source.where(name)), movies_dat(source), None, "seconds")


IMPORTER = Importer("movietweetings", "MovieTweetings", "ratings.dat, movies.dat", read)
