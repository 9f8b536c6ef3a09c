"""The items of a bundle: their topics, their titles, and a search among them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.index_builder.layout import ITEMS_FILE
from core.errors import BundleError

#: Ranks of a hit, best first.
_EXACT_ID, _EXACT_TITLE, _ID_STARTS, _TITLE_STARTS, _WORD_STARTS, _INSIDE = range(6)


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
class Item:
    """One item of the catalogue."""

    item_id: str
    title: str | None
    topics: list[str]


class Catalogue:
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
    def read(cls, bundle: Path) -> Catalogue:
        """Reads the catalogue of a bundle, without titles.

        Raises:
          BundleError: `items.parquet` is missing or broken.
        """
        path = bundle / ITEMS_FILE
        try:
            table = pq.read_table(path, columns=["item_id", "topics"])
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

    def with_titles(self, item_id: pa.ChunkedArray, title: pa.ChunkedArray) -> Catalogue:
        """Returns a copy that knows the titles of some items; of repeated ids the last counts."""
        if not len(item_id):
            return self
        ids = item_id.combine_chunks().cast(pa.large_string())
        newest_first = pa.array(np.arange(len(ids))[::-1])
        row = pc.index_in(self._id, value_set=ids.take(newest_first))
        titles = title.combine_chunks().cast(pa.large_string()).take(newest_first)
        return Catalogue(self._id, self._topics, titles.take(row))

    def facts(self, items: Collection[str], follows: Collection[str] = ()) -> Facts:
        """Returns what is known about some items and topics."""
        found = self._items(self._rows_of(items))
        counts = self._topic_counts
        return Facts(
            topics={item.item_id: item.topics for item in found},
            titles={item.item_id: item.title for item in found if item.title},
            carried=[topic for topic in follows if topic in counts],
        )

    def search(self, text: str, limit: int) -> list[Item]:
        """Returns items whose id or title holds `text`, better hits first, upper case or not."""
        text = text.strip().lower()
        if not text:
            return self._items(np.arange(min(limit, len(self))))
        ids, titles = self._lower_id, self._lower_title
        rank = np.full(len(self), _INSIDE + 1, np.int8)
        _mark(rank, pc.equal(ids, text), _EXACT_ID)
        _mark(rank, pc.starts_with(ids, text), _ID_STARTS)
        _mark(rank, pc.match_substring(ids, text), _INSIDE)
        if titles is not None:
            _mark(rank, pc.equal(titles, text), _EXACT_TITLE)
            _mark(rank, pc.starts_with(titles, text), _TITLE_STARTS)
            _mark(rank, pc.match_substring(titles, " " + text), _WORD_STARTS)
            _mark(rank, pc.match_substring(titles, text), _INSIDE)
        hits = np.flatnonzero(rank <= _INSIDE)
        return self._items(hits[np.argsort(rank[hits], kind="stable")][:limit])

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
    def _lower_id(self) -> pa.ChunkedArray:
        return pc.utf8_lower(self._id)

    @cached_property
    def _lower_title(self) -> pa.ChunkedArray | None:
        return None if self._title is None else pc.utf8_lower(self._title)

    def _rows_of(self, items: Collection[str]) -> np.ndarray:
        """Returns the rows of those of the items that are here; probes the small set per row."""
        wanted = pa.array(sorted(set(items)), pa.large_string())
        return np.flatnonzero(pc.is_in(self._id, value_set=wanted).to_numpy())

    def _items(self, rows: np.ndarray) -> list[Item]:
        taken = pa.array(rows, pa.int64())
        ids, topics = self._id.take(taken).to_pylist(), self._topics.take(taken).to_pylist()
        titles = [None] * len(rows) if self._title is None else self._title.take(taken).to_pylist()
        return [
            Item(item_id, title or None, names or [])
            for item_id, title, names in zip(ids, titles, topics, strict=True)
        ]


def _mark(rank: np.ndarray, hit: pa.ChunkedArray, value: int) -> None:
    """Gives hits (null: no hit) this rank, unless theirs is better."""
    rows = pc.fill_null(hit, False).to_numpy()
    rank[rows] = np.minimum(rank[rows], value)
