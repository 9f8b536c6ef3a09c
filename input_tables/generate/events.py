"""Engagements of synthetic users: sessions, sources, items, actions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from input_tables.generate.config import GeneratorConfig
from input_tables.generate.users import Users
from input_tables.generate.world import World

_DAY = 86_400
_SESSION_EVENTS = 5.0
_GAP_SECONDS = 90.0
#: Index into these is what `Events.source`, `.action` and `.driver` hold.
SOURCES = ("home", "topic_feed", "search", "related")
#: Share of each source; where nothing is followed, the topic feed's is home's.
SOURCE_SHARE = (0.45, 0.25, 0.15, 0.15)
HOME, TOPIC_FEED, SEARCH, RELATED = range(4)
ACTIONS = ("click", "save", "share", "hide", "view", "search")
_ACTION_SHARE = (0.75, 0.17, 0.08)
HIDE, VIEW, SEARCHED = 3, 4, 5
DRIVERS = ("interest", "follow", "noise")
INTEREST, FOLLOW, NOISE = range(3)
#: Draws of an item that the user has not met yet; more where histories must keep their length.
_REDRAWS = 3
_REDRAWS_BOUNDED = 20


class GeneratedEvents(NamedTuple):
    """Engagements of one chunk, sorted by time; every array is int64 `[events]`.

    Attributes:
      user: row in the chunk.
      item: item number.
      time: seconds since 1970.
      action: index into `ACTIONS`.
      source: index into `SOURCES`.
      topic: the topic feed's topic, -1 for other sources.
      driver: index into `DRIVERS`: what made the user engage (ground truth).
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    action: np.ndarray
    source: np.ndarray
    topic: np.ndarray
    driver: np.ndarray


def make_events(
    config: GeneratorConfig, world: World, users: Users, rng: np.random.Generator
) -> GeneratedEvents:
    """Draws the engagements of one chunk of users."""
    user = np.repeat(np.arange(len(users.joined)), users.rows)
    session = _sessions(rng, users.rows, len(user))
    time = _times(config, users, rng, user, session)
    source = rng.choice(len(SOURCES), len(user), p=SOURCE_SHARE)
    interest, driver = _interests(config, world, users, rng, user, session, source)
    action = rng.choice(len(_ACTION_SHARE), len(user), p=_ACTION_SHARE)
    hidden = rng.random(len(user)) < config.hide_share
    action[hidden], source[hidden], driver[hidden] = HIDE, HOME, NOISE
    interest[hidden] = rng.integers(0, len(world.interest_topic), int(hidden.sum()))
    feed = np.flatnonzero(source == TOPIC_FEED)
    topic = np.full(len(user), -1)
    topic[feed] = _feed_topics(users, rng, user[feed], time[feed])
    source[(source == TOPIC_FEED) & (topic < 0)] = HOME
    driver[topic >= 0] = FOLLOW
    item = _items(config, world, rng, user, time, interest, source, topic)
    kept = np.flatnonzero(item >= 0)
    order = kept[np.lexsort((item[kept], user[kept], time[kept]))]
    columns = (user, item, time, action, source, topic, driver)
    return GeneratedEvents(*(column[order] for column in columns))


def _sessions(rng: np.random.Generator, rows: np.ndarray, count: int) -> np.ndarray:
    """Returns the session of each event: int64 `[events]`, numbered from 0."""
    begins = rng.random(count) < 1.0 / _SESSION_EVENTS
    first = np.cumsum(rows) - rows
    begins[first[rows > 0]] = True
    return np.cumsum(begins) - 1


def _times(
    config: GeneratorConfig,
    users: Users,
    rng: np.random.Generator,
    user: np.ndarray,
    session: np.ndarray,
) -> np.ndarray:
    """Sessions at noon and in the evening of random days after joining, events inside."""
    begins = np.flatnonzero(np.diff(session, prepend=-1))
    joined = users.joined[user[begins]]
    sessions = len(begins)
    length = config.end - joined
    day = (joined + rng.random(sessions) * length).astype(np.int64) // _DAY
    noon = rng.random(sessions) < 0.35
    clock = np.where(noon, rng.normal(12.5, 1.5, sessions), rng.normal(20.0, 2.0, sessions))
    start = day * _DAY + (np.clip(clock, 0.0, 23.9) * 3600).astype(np.int64)
    gaps = rng.exponential(_GAP_SECONDS, len(user))
    passed = np.cumsum(gaps)
    offset = passed - passed[begins][session]
    time = np.maximum(start, joined)[session] + offset.astype(np.int64)
    return np.minimum(time, config.end - 1)


def _interests(
    config: GeneratorConfig,
    world: World,
    users: Users,
    rng: np.random.Generator,
    user: np.ndarray,
    session: np.ndarray,
    source: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (latent interest, driver) of each event; a session mostly keeps its interest."""
    cumulative = np.cumsum(users.weights, axis=1)
    cumulative[:, -1] = 1.0 + 1e-9
    session_draw = rng.random(int(session.max(initial=-1)) + 1)[session]
    stays = (rng.random(len(user)) < config.session_stay) | (source == RELATED)
    uniform = np.where(stays, session_draw, rng.random(len(user)))
    slot = (uniform[:, None] >= cumulative[user]).sum(axis=1)
    interest = users.interests[user, slot]
    noise = (rng.random(len(user)) < config.noise_share) | (interest < 0)
    interest[noise] = rng.integers(0, len(world.interest_topic), int(noise.sum()))
    return interest, np.where(noise, NOISE, INTEREST)


def _feed_topics(
    users: Users, rng: np.random.Generator, user: np.ndarray, time: np.ndarray
) -> np.ndarray:
    """Returns a followed topic in force at that time, -1 for users without one."""
    moment = time[:, None]
    usable = (users.topic[user] >= 0) & users.used[user]
    usable &= (users.since[user] < moment) & (users.until[user] > moment)
    chosen = (usable * (1.0 + rng.random(usable.shape))).argmax(axis=1)
    return np.where(usable.any(axis=1), users.topic[user, chosen], -1)


def _items(
    config: GeneratorConfig,
    world: World,
    rng: np.random.Generator,
    user: np.ndarray,
    time: np.ndarray,
    interest: np.ndarray,
    source: np.ndarray,
    topic: np.ndarray,
) -> np.ndarray:
    """Draws items; a user's repeats are drawn anew a few times, then dropped (-1)."""
    item = np.full(len(user), -1)
    again = np.arange(len(user))
    bounded = config.user_events_min is not None
    for redraw in range((_REDRAWS_BOUNDED if bounded else _REDRAWS) + 1):
        item[again] = _draw(
            world, rng, time[again], interest[again], source[again], topic[again], redraw
        )
        keys = user * (config.items + 1) + item + 1
        first = np.zeros(len(user), bool)
        first[np.unique(keys, return_index=True)[1]] = True
        again = np.flatnonzero(~first | (item < 0))
        if not len(again):
            break
    item[again] = -1
    return item


def _draw(
    world: World,
    rng: np.random.Generator,
    time: np.ndarray,
    interest: np.ndarray,
    source: np.ndarray,
    topic: np.ndarray,
    redraw: int,
) -> np.ndarray:
    uniform = rng.random(len(time))
    item = world.by_interest.draw(interest, time, uniform)
    for pools, group, chosen in (
        (world.by_interest_flat, interest, (source == SEARCH) | (redraw > 0)),
        (world.by_topic, topic, topic >= 0),
    ):
        item[chosen] = pools.draw(group[chosen], time[chosen], uniform[chosen])
    return item
