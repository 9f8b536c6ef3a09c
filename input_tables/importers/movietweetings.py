"""MovieTweetings: `ratings.dat` and `movies.dat` with `::` between fields.

IMDb ids keep their leading zeros. Topics are genres; the set holds no follows.
"""

from __future__ import annotations

from input_tables.importers.base import Imported, Importer, Source, double_colon, ratings
from input_tables.importers.movielens import movies_dat


def read(source: Source) -> Imported:
    """Reads one snapshot, for example the folder `latest`."""
    name = source.require("ratings.dat")
    table = double_colon(source, name, ("user_id", "item_id", "rating", "timestamp"))
    return Imported(ratings(table, source.where(name)), movies_dat(source), None, "seconds")


IMPORTER = Importer("movietweetings", "MovieTweetings", "ratings.dat, movies.dat", read)
