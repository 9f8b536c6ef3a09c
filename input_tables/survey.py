"""What is counted over all rows of all tables, so that one verdict can be given on them.

Surveys of single files are added up in any order: workers make one each.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from input_tables.columns import as_binary
from input_tables.contract import ENGAGEMENTS, FOLLOWS, ITEMS, MILLISECONDS_FROM, Table
from input_tables.feature_survey import FeatureSurvey

_SECONDS_PER_DAY = 86_400
#: 1990-01-01: whatever is earlier is no second since 1970 of a log.
EARLIEST_SECOND = 631_152_000
#: Latest engagements that are kept by name.
_LATEST_KEPT = 10
#: Distinct actions that are kept; an id in the column of actions must not fill the memory.
_MAX_ACTIONS = 10_000
#: How lists of other programs look where topics should stand.
_LIST = re.compile(r"^\s*(\[.*\]|\{.*\}|\(.*\))\s*$", re.DOTALL)
_JOINED = re.compile(r"\s*[,;]\s*")


class SurveyedEvent(NamedTuple):
    """An engagement as messages name it."""

    timestamp: int
    file: str
    user: bytes
    item: bytes


@dataclass
class Survey:
    """Counts over rows.

    Attributes:
      rows: good rows by table. All other counts are over these.
      bad: rows that could not be read, by table.
      lines: lines of CSV files by table, their headers included.
      engaged: engagements by item.
      users: users with engagements.
      item_ids: the distinct items of each batch, binary.
      item_topics: items by topic.
      followers: users that follow.
      followed: followed topics.
      actions: engagements by action.
      days: engagements by day since 1970 (by position divided by 86,400 for order indices).
      early: rows before 1990 by (column, value's likely meaning), and an example of each.
      without_topics: items without a topic.
      latest: the latest engagements.
      bounds: first and last timestamp.
      features: counts of the features' values.
    """

    rows: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)
    engaged: Counter[bytes] = field(default_factory=Counter)
    users: set[bytes] = field(default_factory=set)
    item_ids: list[pa.Array] = field(default_factory=list)
    item_topics: Counter[bytes] = field(default_factory=Counter)
    followers: set[bytes] = field(default_factory=set)
    followed: set[bytes] = field(default_factory=set)
    actions: Counter[bytes] = field(default_factory=Counter)
    days: Counter[int] = field(default_factory=Counter)
    early: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    without_topics: int = 0
    latest: list[SurveyedEvent] = field(default_factory=list)
    bounds: tuple[int, int] | None = None
    features: FeatureSurvey = field(default_factory=FeatureSurvey)

    @property
    def items(self) -> set[bytes]:
        """Distinct items, made anew each time: of a large catalogue, ask once."""
        return {name for part in self.item_ids for name in part.to_pylist()}

    @property
    def num_items(self) -> int:
        """Number of distinct items."""
        found: int = pc.count_distinct(pa.chunked_array(self.item_ids, pa.binary())).as_py()
        return found

    def add(self, table: Table, batch: pa.RecordBatch, file: str) -> None:
        """Counts a batch of good rows of `SCHEMAS[table]` from a file of this name."""
        if not batch.num_rows:
            return
        self.rows[table] += batch.num_rows
        self.features.add(table, batch)
        if table == ENGAGEMENTS:
            self._add_engagements(batch, file)
        elif table == ITEMS:
            self._add_items(batch)
        elif table == FOLLOWS:
            self.followers.update(_distinct(batch.column("user_id")))
            self.followed.update(_distinct(batch.column("topic")))
            self._add_early(f"{FOLLOWS}.timestamp", batch.column("timestamp").drop_null())

    def merge(self, other: Survey) -> Survey:
        """Adds another survey to this one and returns it."""
        for mine, theirs in (
            (self.rows, other.rows),
            (self.bad, other.bad),
            (self.lines, other.lines),
            (self.engaged, other.engaged),
            (self.item_topics, other.item_topics),
            (self.days, other.days),
            (self.actions, other.actions),
        ):
            mine.update(theirs)  # type: ignore[arg-type]
        self.users |= other.users
        self.item_ids += other.item_ids
        self.followers |= other.followers
        self.followed |= other.followed
        self.features.merge(other.features)
        self.without_topics += other.without_topics
        for key, (count, example) in other.early.items():
            self.early[key] = (self.early.get(key, (0, 0))[0] + count, example)
        self.latest = heapq.nlargest(_LATEST_KEPT, [*self.latest, *other.latest])
        known = [pair for pair in (self.bounds, other.bounds) if pair is not None]
        if known:
            self.bounds = min(low for low, _ in known), max(high for _, high in known)
        return self

    def _add_engagements(self, batch: pa.RecordBatch, file: str) -> None:
        self.users.update(_distinct(batch.column("user_id")))
        self.engaged.update(_counted(batch.column("item_id")))
        self.actions.update(_counted(batch.column("action")))
        if len(self.actions) > _MAX_ACTIONS:
            self.actions = Counter(dict(self.actions.most_common(_MAX_ACTIONS // 2)))
        times = np.asarray(batch.column("timestamp"))
        days, counts = np.unique(times // _SECONDS_PER_DAY, return_counts=True)
        self.days.update(dict(zip(days.tolist(), counts.tolist(), strict=True)))
        low, high = int(times.min()), int(times.max())
        if self.bounds is not None:
            low, high = min(low, self.bounds[0]), max(high, self.bounds[1])
        self.bounds = low, high
        if len(self.latest) < _LATEST_KEPT or int(times.max()) > self.latest[-1].timestamp:
            last = np.argsort(times, kind="stable")[-_LATEST_KEPT:]
            rows = batch.take(pa.array(last)).to_pylist()
            found = [SurveyedEvent(r["timestamp"], file, r["user_id"], r["item_id"]) for r in rows]
            self.latest = heapq.nlargest(_LATEST_KEPT, [*self.latest, *found])
        self._add_early(f"{ENGAGEMENTS}.timestamp", batch.column("timestamp"))

    def _add_early(self, column: str, times: pa.Array) -> None:
        values = np.asarray(times)
        for value in (early := values[values < EARLIEST_SECOND])[:1].tolist():
            key = (column, likely_unit(value))
            self.early[key] = (self.early.get(key, (0, 0))[0] + len(early), value)

    def _add_items(self, batch: pa.RecordBatch) -> None:
        self.item_ids.append(pc.unique(as_binary(batch.column("item_id"))))
        topics = batch.column("topics")
        lengths = np.asarray(pc.list_value_length(topics).fill_null(0))
        self.without_topics += int((lengths == 0).sum())
        self.item_topics.update(_counted(pc.list_flatten(topics)))


def odd_topics(topics: Counter[bytes]) -> dict[str, tuple[int, str]]:
    """Returns (items, an example) by what is odd about the texts of topics.

    `list`: written as another program writes a list; `joined`: several topics in one,
    told by parts that mostly come again in others; `blanks`: blanks around them.
    """
    found: dict[str, tuple[int, str]] = {}
    joined: dict[str, int] = {}
    for value, count in topics.items():
        text = value.decode("utf-8", "replace")
        if _LIST.match(text):
            found["list"] = found.get("list", (0, ""))[0] + count, text
        elif _JOINED.search(text.strip(" ,;")):
            joined[text] = count
        elif text != text.strip():
            found["blanks"] = found.get("blanks", (0, ""))[0] + count, text
    texts = [value.decode("utf-8", "replace").strip(" ,;") for value in topics]
    parts = Counter(part for text in texts for part in set(_JOINED.split(text)))
    inside = {part for text in joined for part in _JOINED.split(text.strip(" ,;"))}
    # Names with a comma in them ("Clothing, Shoes & Jewelry") hardly share their parts.
    if joined and 2 * sum(parts[part] > 1 for part in inside) > len(inside):
        found["joined"] = sum(joined.values()), next(iter(joined))
    return found


def likely_unit(value: int) -> str:
    """Returns what a number that is no second since 1970 of our days most likely is."""
    text = str(value)
    if len(text) == 8 and text[:2] in ("19", "20") and "01" <= text[4:6] <= "12":
        return "a date written as YYYYMMDD"
    for bound, unit in ((100_000, "days"), (1_000_000, "hours"), (100_000_000, "minutes")):
        if value < bound:
            return f"{unit} since 1970"
    return "no time of a log"


def moment_problem(moment: int, time_unit: str) -> str | None:
    """Returns why a number is no moment of a request, None when it may be one.

    The same is asked of it as of a row's timestamp.
    """
    if moment < 0:
        return f"{moment} is negative"
    if time_unit == "order":
        return None
    if moment >= MILLISECONDS_FROM:
        return f"{moment} is too large for seconds since 1970; it looks like milliseconds"
    if moment < EARLIEST_SECOND:
        return f"{moment} is before 1990; it looks like {likely_unit(moment)}"
    return None


def _distinct(array: pa.Array) -> list[bytes]:
    values: list[bytes] = pc.unique(array).to_pylist()
    return values


def _counted(array: pa.Array) -> dict[bytes, int]:
    counts = as_binary(array).value_counts()
    values, numbers = counts.field("values"), counts.field("counts")
    return dict(zip(values.to_pylist(), numbers.to_pylist(), strict=True))
