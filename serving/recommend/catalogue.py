"""The items of a bundle: their topics, their titles, and a search among them."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.index_builder.layout import ITEMS_FILE
from components.index_builder.served_items import served_items
from core.errors import BundleError

#: Hits of a search that are put in order; a word that more items hold is too short to choose by.
_RANKED = 5000


@dataclass(frozen=True)
class Facts:
    """What an answer is explained with.

    Attributes:
      topics: item id -> topics, for those of the asked items that the catalogue holds.
      titles: item id -> title, where there is one.
      carried: those of the asked topics that some item carries.
    """

    topics: Mapping[str, list[str]]
    titles: Mapping[str, str] = field(default_factory=dict)
    carried: Collection[str] = ()


@dataclass(frozen=True)
class CatalogueItem:
    """One item of the catalogue."""

    item_id: str
    title: str | None
    topics: list[str]


class ItemCatalogue:
    """Items in the order of the index, as Arrow columns: a million take tens of megabytes."""

    def __init__(
        self, item_id: pa.ChunkedArray, topics: pa.ChunkedArray, title: pa.ChunkedArray | None
    ) -> None:
        """Takes the columns of the items.

        Args:
          item_id: `[items]` string.
          topics: `[items]` list of string.
          title: `[items]` string, null where an item has none; None without titles.
        """
        self._id = item_id
        self._topics = topics
        self._title = title

    @classmethod
    def read(cls, bundle: Path) -> ItemCatalogue:
        """Reads the catalogue of a bundle, without titles.

        Raises:
          BundleError: `items.parquet` or what a delta adds to it is missing or broken.
        """
        path = bundle / ITEMS_FILE
        try:
            table = served_items(bundle)
        except (OSError, pa.ArrowException) as error:
            raise BundleError(
                f"{path}: cannot be read ({error}); publish the bundle again"
            ) from error
        return cls(
            table["item_id"].cast(pa.large_string()),
            table["topics"].cast(pa.large_list(pa.large_string())),
            None,
        )

    def __len__(self) -> int:
        return len(self._id)

    @property
    def has_titles(self) -> bool:
        """Whether any item has a title."""
        return self._title is not None and self._title.null_count < len(self._title)

    def with_titles(self, item_id: pa.ChunkedArray, title: pa.ChunkedArray) -> ItemCatalogue:
        """Returns a copy that knows the titles of some items; of repeated ids the last counts."""
        if not len(item_id):
            return self
        ids = item_id.combine_chunks().cast(pa.large_string())
        newest_first = pa.array(np.arange(len(ids))[::-1])
        row = pc.index_in(self._id, value_set=ids.take(newest_first))
        titles = title.combine_chunks().cast(pa.large_string()).take(newest_first)
        return ItemCatalogue(self._id, self._topics, titles.take(row))

    def facts(self, items: Collection[str], follows: Collection[str] = ()) -> Facts:
        """Returns what is known about some items and topics."""
        found = self._items(self._rows_of(items))
        counts = self._topic_counts
        return Facts(
            topics={item.item_id: item.topics for item in found},
            titles={item.item_id: item.title for item in found if item.title},
            carried=[topic for topic in follows if topic in counts],
        )

    def search(self, text: str, limit: int) -> list[CatalogueItem]:
        """Returns items whose id or title holds `text`, better hits first, upper case or not."""
        wanted = text.strip().lower()
        if not wanted:
            return self._items(np.arange(min(limit, len(self))))
        hits = np.flatnonzero(pc.match_substring(self._lower, wanted).to_numpy())[:_RANKED]
        rows = np.unique(np.concatenate([self._rows_of([text.strip()]), hits]))
        ranked = [
            (_rank(item, wanted), place, item) for place, item in enumerate(self._items(rows))
        ]
        ranked = sorted(found for found in ranked if found[0] is not None)
        return [item for _, _, item in ranked[:limit]]

    def search_topics(self, text: str, limit: int) -> list[tuple[str, int]]:
        """Returns topics that hold `text` with their number of items, the most frequent first."""
        text = text.strip().lower()
        hits = (pair for pair in self._topic_counts.items() if text in pair[0].lower())
        order = sorted(hits, key=lambda p: (p[0].lower() != text, -p[1], p[0]))
        return order[:limit]

    @property
    def num_topics(self) -> int:
        """Number of different topics that items carry."""
        return len(self._topic_counts)

    @cached_property
    def _topic_counts(self) -> dict[str, int]:
        counts = pc.value_counts(pc.list_flatten(self._topics))
        pairs = zip(
            counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True
        )
        return {topic: count for topic, count in pairs if topic}

    @cached_property
    def _lower(self) -> pa.ChunkedArray:
        """Id and title of each item in lower case: what a search looks through."""
        if self._title is None:
            return pc.utf8_lower(self._id)
        gap = pa.scalar("\n", pa.large_string())
        joined = pc.binary_join_element_wise(
            self._id, self._title, gap, null_handling="replace", null_replacement=""
        )
        return pc.utf8_lower(joined)

    @cached_property
    def _sorted(self) -> tuple[pa.Array, np.ndarray]:
        """The ids in order, and the row of each."""
        ids = pa.array([], pa.large_string()) if not len(self) else self._id.combine_chunks()
        order = pc.sort_indices(ids)
        return ids.take(order), order.to_numpy()

    def _rows_of(self, items: Collection[str]) -> np.ndarray:
        """Returns the rows of those of the items that are here, in ascending order."""
        ids, order = self._sorted
        rows = []
        for item in set(items):
            place = bisect.bisect_left(range(len(ids)), item, key=lambda p: ids[p].as_py())
            if place < len(ids) and ids[place].as_py() == item:
                rows.append(order[place])
        return np.sort(np.array(rows, np.int64))

    def _items(self, rows: np.ndarray) -> list[CatalogueItem]:
        taken = pa.array(rows, pa.int64())
        ids, topics = self._id.take(taken).to_pylist(), self._topics.take(taken).to_pylist()
        titles = [None] * len(rows) if self._title is None else self._title.take(taken).to_pylist()
        return [
            CatalogueItem(item_id, title or None, names or [])
            for item_id, title, names in zip(ids, titles, topics, strict=True)
        ]


def _rank(item: CatalogueItem, wanted: str) -> int | None:
    """Returns how well an item fits a search, 0 best; None: not at all."""
    name, title = item.item_id.lower(), (item.title or "").lower()
    fits = (
        name == wanted,
        title == wanted,
        name.startswith(wanted),
        title.startswith(wanted),
        " " + wanted in title,
        wanted in name or wanted in title,
    )
    return fits.index(True) if True in fits else None
