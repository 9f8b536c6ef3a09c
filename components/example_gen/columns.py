"""Arrow types and schemas of what the join moves and of the examples it writes."""

from __future__ import annotations

import pyarrow as pa

from trainer import features

#: Every example column is a list: TFX reads Parquet columns as `large_list` only.
BYTES_LIST = pa.large_list(pa.large_binary())
INT_LIST = pa.large_list(pa.int64())

EXAMPLE_SCHEMA = pa.schema(
    [
        pa.field(name, INT_LIST if name in features.INT_FEATURES else BYTES_LIST)
        for name in features.RAW_FEATURES
    ]
)

#: The same of a run with `features:`.
FEATURED_SCHEMA = pa.schema(
    [*EXAMPLE_SCHEMA, *(pa.field(name, BYTES_LIST) for name in features.VALUE_FEATURES)]
)

EVENT_SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.large_binary()),
        pa.field("item_id", pa.large_binary()),
        pa.field("timestamp", pa.int64()),
        pa.field("action", pa.large_binary()),
        pa.field("source", pa.large_binary()),
        pa.field("source_topic", pa.large_binary()),
    ]
)

#: Topics of the catalogue items that a bucket's events name.
TOPIC_SCHEMA = pa.schema([pa.field("item_id", pa.large_binary()), pa.field("topics", BYTES_LIST)])

FOLLOW_SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.large_binary()),
        pa.field("topic", pa.large_binary()),
        pa.field("timestamp", pa.int64()),
        pa.field("unfollowed_at", pa.int64()),
    ]
)

#: `features` are texts `name=value`.
USER_SCHEMA = pa.schema([pa.field("user_id", pa.large_binary()), pa.field("features", BYTES_LIST)])

#: `attributes` are the values of `ReadSettings.attributes`, in that order, null for a missing
#: one; `features` are texts `name=value`. `file` and `row` say where an item came from, for
#: dead letters.
ITEM_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.large_binary()),
        pa.field("topics", BYTES_LIST),
        pa.field("attributes", BYTES_LIST),
        pa.field("features", BYTES_LIST),
        pa.field("file", pa.large_binary()),
        pa.field("row", pa.int64()),
    ]
)


def example_schema(featured: object) -> pa.Schema:
    """Returns the columns of the raw examples: with those of features where there are any."""
    return FEATURED_SCHEMA if featured else EXAMPLE_SCHEMA


def conform(batch: pa.RecordBatch | pa.Table, schema: pa.Schema) -> pa.Table:
    """Returns a table with exactly the columns and types of `schema`.

    Args:
      batch: columns of any order; absent ones become null.
      schema: the wanted columns.
    """
    rows = batch.num_rows
    names = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in names
        else pa.nulls(rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
