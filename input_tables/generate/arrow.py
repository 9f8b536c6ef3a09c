"""Synthetic arrays as canonical Arrow tables, and their ground truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from input_tables.generate.config import GeneratorConfig
from input_tables.generate.events import ACTIONS, DRIVERS, SOURCES, GeneratedEvents
from input_tables.generate.users import FOREVER, Users
from input_tables.generate.world import World


class Chunk(NamedTuple):
    """Rows of one chunk of users: canonical tables, then ground truth."""

    engagements: pa.Table
    follows: pa.Table
    engagement_truth: pa.Table
    user_truth: pa.Table


class Names(NamedTuple):
    """Ids as Arrow arrays, so that a column is one `take`."""

    items: pa.Array
    topics: pa.Array

    @classmethod
    def of(cls, config: GeneratorConfig, world: World) -> Names:
        """Returns the ids of one world."""
        items = pa.array([f"i{n}" for n in range(config.items)])
        return cls(items, pa.array(world.topic_names))


def chunk_tables(world: World, names: Names, users: Users, events: GeneratedEvents) -> Chunk:
    """Turns one chunk into Arrow tables."""
    ids = pa.array([f"u{users.first + n}" for n in range(len(users.joined))])
    user = ids.take(pa.array(events.user))
    item = names.items.take(pa.array(events.item))
    time = pa.array(events.time)
    engagements = pa.table(
        {
            "user_id": user,
            "item_id": item,
            "timestamp": time,
            "action": _words(ACTIONS, events.action),
            "source": _words(SOURCES, events.source),
            "source_topic": names.topics.take(_nullable(events.topic, events.topic < 0)),
        }
    )
    truth = pa.table(
        {
            "user_id": user,
            "item_id": item,
            "timestamp": time,
            "interest": pa.array(world.item_interest[events.item]),
            "driver": _words(DRIVERS, events.driver),
        }
    )
    return Chunk(
        engagements, _follows(names, ids, users), truth, _user_truth(world, names, users, ids)
    )


def _follows(names: Names, ids: pa.Array, users: Users) -> pa.Table:
    row, slot = np.nonzero(users.topic >= 0)
    since, until = users.since[row, slot], users.until[row, slot]
    return pa.table(
        {
            "user_id": ids.take(pa.array(row)),
            "topic": names.topics.take(pa.array(users.topic[row, slot])),
            "timestamp": _nullable(since, since == 0),
            "unfollowed_at": _nullable(until, until == FOREVER),
        }
    )


def _user_truth(world: World, names: Names, users: Users, ids: pa.Array) -> pa.Table:
    row, slot = np.nonzero(users.interests >= 0)
    interest = users.interests[row, slot]
    return pa.table(
        {
            "user_id": ids.take(pa.array(row)),
            "interest": pa.array(interest),
            "topic": names.topics.take(pa.array(world.interest_topic[interest])),
            "weight": pa.array(users.weights[row, slot]),
        }
    )


def item_tables(world: World, names: Names) -> tuple[pa.Table, pa.Table]:
    """Returns (items, ground truth of items)."""
    count = len(world.item_interest)
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(np.bincount(world.item_topic[:, 0], minlength=count), out=offsets[1:])
    topics = names.topics.take(pa.array(world.item_topic[:, 1]))
    own = world.interest_topic[world.item_interest]
    titles = [f"{world.topic_names[topic].capitalize()} #{n}" for n, topic in enumerate(own)]
    items = pa.table(
        {
            "item_id": names.items,
            "topics": pa.ListArray.from_arrays(pa.array(offsets), topics),
            "title": pa.array(titles),
            "created_at": pa.array(world.item_created),
        }
    )
    truth = pa.table(
        {
            "item_id": names.items,
            "interest": pa.array(world.item_interest),
            "topic": names.topics.take(pa.array(own)),
            "weight": pa.array(world.item_weight),
        }
    )
    return items, truth


def _words(words: tuple[str, ...], codes: np.ndarray) -> pa.Array:
    return pa.array(words).take(pa.array(codes))


def _nullable(values: np.ndarray, null: np.ndarray) -> pa.Array:
    return pa.array(values, mask=null, type=pa.int64())
