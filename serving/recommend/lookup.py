"""Finds one user, and titles of items, in the tables that a model was trained on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.bundle.manifest import Manifest
from components.example_gen.columns import FOLLOW_SCHEMA, USER_SCHEMA
from components.example_gen.follows import in_force, prepare
from components.example_gen.reading import with_features
from components.example_gen.users import user_values
from core.errors import ConfigError, DataError
from core.feature_config import FeaturesConfig
from input_tables.catalogue import find_items
from input_tables.config import DataConfig
from input_tables.contract import USERS, Table
from input_tables.layout import TableSet, find_tables, read_settings
from input_tables.reading import read_table
from serving.recommend.question import HistoryEvent, Question

#: Events of a user that are sent; the model cuts them further, the rest only counts as seen.
HISTORY_MAX_ITEMS = 1000

TimeUnit = Literal["seconds", "order"]


class UnknownUserError(DataError):
    """The tables hold neither an engagement nor a follow of the user."""


def data_config(manifest: Manifest, data_root: Path | str | None = None) -> DataConfig:
    """Returns where the tables are: at `data_root`, else where the model was trained.

    Raises:
      ConfigError: neither is known.
    """
    root = str(data_root) if data_root is not None else manifest.data_root
    if not root:
        raise ConfigError("the bundle does not say where its tables are: give --data DIR")
    recorded = manifest.config.get("data") or {}
    return DataConfig.model_validate({**recorded, "root": root})


def time_unit(manifest: Manifest) -> TimeUnit:
    """Returns the unit of the data's times."""
    return "order" if manifest.time_unit == "order" else "seconds"


def follows_limit(manifest: Manifest) -> int:
    """Returns the most followed topics that the model was trained with."""
    return int(manifest.config.get("transform", {}).get("follows_max_topics", 50))


def find_user(
    config: DataConfig,
    time_unit: TimeUnit,
    user: str,
    follows_max: int,
    now: int | None = None,
    extra_follows: Collection[str] = (),
    features: FeaturesConfig | None = None,
) -> Question:
    """Reads a user's history and follows.

    The moment of the request is right after the newest event of the tables (of
    the user, where timestamps are positions), so that the answer is what the
    user would have been shown at the end of the data.

    Args:
      config: where the tables are.
      time_unit: `seconds` or `order`.
      user: id of the user.
      follows_max: most followed topics.
      now: another moment; later events are left out.
      extra_follows: topics that count as followed just now.
      features: of the model; those of users are read from the table `users`.

    Raises:
      UnknownUserError: the user is not in the tables and follows nothing.
      DataError: tables missing or broken.
    """
    features = features or FeaturesConfig()
    tables = find_tables(config, features.columns())
    found = list(_rows(tables, "engagements", time_unit, user))
    latest = max((newest for _, newest in found), default=0)
    events = [rows.select(_EVENTS.names).cast(_EVENTS) for rows, _ in found]
    mine = pa.concat_tables([_EVENTS.empty_table(), *events])
    follows = _follow_rows(tables, time_unit, user)
    if not mine.num_rows and not follows.num_rows and not extra_follows:
        raise UnknownUserError(
            f"user {user!r} has neither an engagement nor a follow in {config.root}; "
            "say what the user likes with --history ITEM,... or --follow TOPIC,..."
        )
    if time_unit == "order":
        latest = pc.max(mine.column("timestamp")).as_py() or 0
    moment = latest + 1 if now is None else now
    notes = [] if mine.num_rows else [f"user {user!r} has no engagement: answered as a new user"]
    return Question(
        history=_history(mine, moment),
        follows=_in_force(follows, user, moment, follows_max, extra_follows),
        now=moment,
        user=user,
        notes=tuple(notes),
        features=_user_features(tables, time_unit, user, features),
    )


def titles(
    config: DataConfig, time_unit: TimeUnit, items: Collection[str] | None = None
) -> pa.Table:
    """Returns the titles of items as columns `item_id` and `title`, in the order of the tables.

    Args:
      config: where the items table is.
      time_unit: `seconds` or `order`.
      items: only these; all where None.

    Raises:
      DataError: the items table is missing or broken.
    """
    wanted = None if items is None else pa.array(sorted(i.encode() for i in items), pa.binary())
    found = [_TITLES.empty_table()]
    tables = find_items(config)
    settings = read_settings(tables, time_unit)
    for file in tables.of("items"):
        for batch, _ in read_table(file.path, "items", settings):
            rows = pc.is_valid(batch.column("title"))
            if wanted is not None:
                rows = pc.and_(rows, pc.is_in(batch.column("item_id"), value_set=wanted))
            kept = pa.Table.from_batches([batch]).filter(rows).select(_TITLES.names)
            found.append(kept.replace_schema_metadata(None).cast(_TITLES))
    return pa.concat_tables(found)


_TITLES = pa.schema([("item_id", pa.large_string()), ("title", pa.large_string())])
_EVENTS = pa.schema(
    [("item_id", pa.binary()), ("timestamp", pa.int64()), ("action", pa.binary())],
)


def _rows(
    tables: TableSet, table: Table, time_unit: TimeUnit, user: str
) -> Iterator[tuple[pa.Table, int]]:
    """Yields, batch by batch, the user's rows and the newest time of anybody's."""
    settings = read_settings(tables, time_unit)
    wanted = pa.scalar(user.encode(), pa.binary())
    for file in tables.of(table):
        for batch, _ in read_table(file.path, table, settings):
            mine = batch.filter(pc.equal(batch.column("user_id"), wanted))
            newest = pc.max(batch.column("timestamp")).as_py() or 0
            yield pa.Table.from_batches([mine]).replace_schema_metadata(None), newest


def _follow_rows(tables: TableSet, time_unit: TimeUnit, user: str) -> pa.Table:
    rows = [
        mine.select(FOLLOW_SCHEMA.names).cast(FOLLOW_SCHEMA)
        for mine, _ in _rows(tables, "follows", time_unit, user)
    ]
    return pa.concat_tables([FOLLOW_SCHEMA.empty_table(), *rows])


def _user_features(
    tables: TableSet, time_unit: TimeUnit, user: str, features: FeaturesConfig
) -> tuple[str, ...]:
    """Returns the user's features as texts `name=value`, as training took them."""
    ids = pa.array([user.encode()], pa.large_binary())
    rows = []
    settings = read_settings(tables, time_unit, features=features)
    for file in tables.of(USERS):
        for batch, _ in read_table(file.path, USERS, settings):
            ours = pa.scalar(user.encode(), batch.column("user_id").type)
            mine = batch.filter(pc.equal(batch.column("user_id"), ours))
            rows.append(with_features(mine, features.users, USER_SCHEMA))
    return tuple(text.decode() for text in user_values(rows, ids)[0].as_py())


def _history(events: pa.Table, now: int) -> tuple[HistoryEvent, ...]:
    """Returns the distinct events strictly before `now` as training orders them."""
    rows = {
        (-time, item, action)
        for item, time, action in zip(*(column.to_pylist() for column in events), strict=True)
        if time < now
    }
    newest = sorted(rows)[:HISTORY_MAX_ITEMS]
    return tuple(
        HistoryEvent(item.decode(), -time, action.decode()) for time, item, action in newest
    )


def _in_force(
    follows: pa.Table, user: str, now: int, limit: int, extra: Collection[str]
) -> tuple[str, ...]:
    """Returns the topics in force at `now`; those given by hand come first."""
    prepared = prepare(follows, pa.array([user.encode()], pa.large_binary()))
    chosen = in_force(prepared, np.zeros(1, np.int64), np.array([now], np.int64), limit)
    names = [topic.decode() for topic in prepared.topics.take(pa.array(chosen.topic)).to_pylist()]
    return tuple(dict.fromkeys([*extra, *names]))[:limit]
