"""The data contract: columns, types and limits of the canonical tables.

Readers turn every table, whatever its file format, into Arrow batches of the
schemas below. Ids, actions and topics are bytes (valid UTF-8), never numbers:
"007" stays "007".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal, NamedTuple

import pyarrow as pa
from pydantic import Field

from core.config import BaseConfig
from core.feature_config import FeaturesConfig

Table = Literal["engagements", "items", "follows", "users"]

ENGAGEMENTS: Table = "engagements"
ITEMS: Table = "items"
FOLLOWS: Table = "follows"
USERS: Table = "users"
#: What every run reads; `users` is read where the configuration names features of users.
TABLES: tuple[Table, ...] = (ENGAGEMENTS, ITEMS, FOLLOWS)

#: Longest id, action or topic, in bytes of UTF-8; a longer one is a dead letter.
MAX_ID_BYTES = 8192
#: Longest title, in bytes; a longer one (an unclosed quote, mostly) is a dead letter.
MAX_TITLE_BYTES = 65_536
#: Separator of an item's topics in CSV.
TOPIC_SEPARATOR = "|"
#: Between the values of a list in a further column, once it is read.
LIST_SEPARATOR = "\x1f"
#: Characters of the row's text that a dead letter keeps.
DEAD_LETTER_TEXT_CHARS = 200

_SECONDS_PER_DAY = 86_400
#: Epoch values from here on are milliseconds or finer (as seconds: the year 5138).
MILLISECONDS_FROM = 100_000_000_000


class Column(NamedTuple):
    """One column of a canonical table."""

    name: str
    kind: Literal["id", "text", "time", "topics", "value", "values"]
    required: bool = True
    nullable: bool = False


COLUMNS: dict[Table, tuple[Column, ...]] = {
    ENGAGEMENTS: (
        Column("user_id", "id"),
        Column("item_id", "id"),
        Column("timestamp", "time"),
        Column("action", "id"),
        Column("source", "id", required=False, nullable=True),
        Column("source_topic", "id", required=False, nullable=True),
    ),
    ITEMS: (
        Column("item_id", "id"),
        Column("topics", "topics", nullable=True),
        Column("title", "text", required=False, nullable=True),
        Column("created_at", "time", required=False, nullable=True),
    ),
    FOLLOWS: (
        Column("user_id", "id"),
        Column("topic", "id"),
        Column("timestamp", "time", required=False, nullable=True),
        Column("unfollowed_at", "time", required=False, nullable=True),
    ),
    USERS: (Column("user_id", "id"),),
}

_ARROW_TYPES: dict[str, pa.DataType] = {
    "id": pa.binary(),
    "text": pa.binary(),
    "time": pa.int64(),
    "topics": pa.list_(pa.binary()),
    "value": pa.binary(),
    "values": pa.binary(),
}

#: Schemas of the batches that readers yield; optional columns are always there.
SCHEMAS: dict[Table, pa.Schema] = {
    table: pa.schema([pa.field(c.name, _ARROW_TYPES[c.kind], c.nullable) for c in columns])
    for table, columns in COLUMNS.items()
}


def further_columns(table: Table, wanted: Sequence[str]) -> tuple[Column, ...]:
    """Returns the wanted columns of a table that the contract does not name.

    Args:
      table: which; `items` and `users` alone have any.
      wanted: `NAME` of a column of the items, `users.NAME` of one of the users; `[]` behind it
        says that it may hold lists, which are read as text with `LIST_SEPARATOR` between.
    """
    known = {column.name for column in COLUMNS[table]}
    found = dict[str, Column]()
    for given in wanted:
        owner, _, name = given.rpartition(".")
        plain = name.removesuffix("[]")
        if table == (owner or ITEMS) and plain not in known:
            kind: Literal["value", "values"] = "values" if name.endswith("[]") else "value"
            found[plain] = Column(plain, kind, nullable=True)
    return tuple(found.values())


def tables_with(wanted: Sequence[str]) -> tuple[Table, ...]:
    """Returns the tables that are read: with `users` where a column of it is wanted."""
    users = any(name.startswith(f"{USERS}.") for name in wanted)
    return (*TABLES, USERS) if users else TABLES


def columns_of(table: Table, wanted: Sequence[str] = ()) -> tuple[Column, ...]:
    """Returns the columns that are read: the contract's, and further ones as text."""
    return (*COLUMNS[table], *further_columns(table, wanted))


def schema_of(table: Table, wanted: Sequence[str] = ()) -> pa.Schema:
    """Returns the schema of the batches that readers yield; see `columns_of`."""
    further = [pa.field(c.name, _ARROW_TYPES[c.kind]) for c in further_columns(table, wanted)]
    return pa.schema([*SCHEMAS[table], *further])


class DeadLetter(NamedTuple):
    """One row that breaks the contract.

    Attributes:
      file: path of the file.
      row: CSV: number of the record, the header being 1 and blank lines not
        counted; Parquet: number of the row, from 1.
      reason: a fixed text per kind of fault, so that reasons can be counted.
      text: the row as it was read, at most `DEAD_LETTER_TEXT_CHARS` characters.
    """

    file: str
    row: int
    reason: str
    text: str


class ReadSettings(BaseConfig):
    """How rows are checked and in what portions they are read."""

    time_unit: Literal["seconds", "order"] = Field(
        "seconds", description="order: timestamps are positions, no epoch checks"
    )
    max_timestamp: int | None = Field(
        None, description="seconds since 1970; later rows are refused as future; None: no bound"
    )
    attributes: tuple[str, ...] = Field(
        (), description="columns of the items table that are kept beside topics, read as text"
    )
    features: FeaturesConfig = Field(
        FeaturesConfig(), description="features of items and users, whose columns are read as well"
    )
    csv_escape: Literal["\\"] | None = Field(
        None, description="a backslash takes the meaning of the quote after it, as Spark writes CSV"
    )
    topics_separator: str = Field(
        TOPIC_SEPARATOR, min_length=1, description="what stands between an item's topics in CSV"
    )
    batch_rows: int = Field(65_536, ge=1, description="rows of one Parquet batch")
    block_bytes: int = Field(
        4 << 20, ge=1024, description="CSV bytes parsed at a time, and the longest row"
    )

    @property
    def wanted(self) -> tuple[str, ...]:
        """Further columns that are read, see `further_columns`."""
        return (*self.attributes, *self.features.columns())


def last_second_of(day: dt.date) -> int:
    """Returns the last second of a day in UTC, as seconds since 1970."""
    midnight = dt.datetime(day.year, day.month, day.day, tzinfo=dt.timezone.utc)
    return int(midnight.timestamp()) + _SECONDS_PER_DAY - 1
