"""Further behaviour streams of synthetic users: views and searches beside engagements."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from input_tables.generate.config import GeneratorConfig
from input_tables.generate.events import HIDE, HOME, NOISE, SEARCH, SEARCHED, VIEW, GeneratedEvents
from input_tables.generate.pools import Pools
from input_tables.generate.users import Users
from input_tables.generate.world import World

_GAP_SECONDS = 300.0
_REDRAWS = 3


class _Stream(NamedTuple):
    """One stream: how many rows, how noisy, where it is logged and what it reaches."""

    share: float
    noise: float
    action: int
    source: int
    pools: Pools


def add_streams(
    config: GeneratorConfig,
    world: World,
    users: Users,
    events: GeneratedEvents,
    rng: np.random.Generator,
) -> GeneratedEvents:
    """Adds views and searches to the engagements of one chunk of users.

    A row lies some minutes before or after an engagement of the same user and is about the
    same latent interest, noise aside. Its item is one that the user meets nowhere else, so a
    stream tells about interests and never gives a later engagement away.

    Args:
      config: shares of the streams and of their noise.
      world: items and latent interests.
      users: the users of the chunk.
      events: the engagements; they stay as they are, whatever the streams' shares.
      rng: a generator of the streams' own.

    Returns:
      All rows, sorted by time.
    """
    for stream in (
        _Stream(config.view_share, config.view_noise_share, VIEW, HOME, world.by_interest),
        _Stream(config.search_share, config.noise_share, SEARCHED, SEARCH, world.by_interest_flat),
    ):
        if stream.share > 0.0:
            events = _merged(events, _drawn(config, world, users, events, stream, rng))
    return events


def _drawn(
    config: GeneratorConfig,
    world: World,
    users: Users,
    events: GeneratedEvents,
    stream: _Stream,
    rng: np.random.Generator,
) -> GeneratedEvents:
    anchors = np.flatnonzero((events.action != HIDE) & (events.action < VIEW))
    count = rng.poisson(stream.share * len(anchors)) if len(anchors) else 0
    anchor = rng.choice(anchors, count) if count else anchors[:0]
    user = events.user[anchor]
    gap = rng.exponential(_GAP_SECONDS, count) * rng.choice((-1.0, 1.0), count)
    time = np.clip(events.time[anchor] + gap.astype(np.int64), users.joined[user], config.end - 1)
    noise = rng.random(count) < stream.noise
    elsewhere = rng.integers(0, len(world.interest_topic), count)
    interest = np.where(noise, elsewhere, world.item_interest[events.item[anchor]])
    driver = np.where(noise, NOISE, events.driver[anchor])
    item = _new_items(config, events, stream, rng, user, time, interest)
    action, source = np.full(count, stream.action), np.full(count, stream.source)
    columns = (user, item, time, action, source, np.full(count, -1), driver)
    return GeneratedEvents(*(column[item >= 0] for column in columns))


def _new_items(
    config: GeneratorConfig,
    events: GeneratedEvents,
    stream: _Stream,
    rng: np.random.Generator,
    user: np.ndarray,
    time: np.ndarray,
    interest: np.ndarray,
) -> np.ndarray:
    """Draws items that the user has no row of yet; -1 where a few draws found none."""
    taken = np.unique(events.user * config.items + events.item)
    item = np.full(len(user), -1)
    again = np.arange(len(user))
    for _ in range(_REDRAWS + 1):
        item[again] = stream.pools.draw(interest[again], time[again], rng.random(len(again)))
        keys = user * config.items + item
        fresh = np.zeros(len(user), bool)
        fresh[np.unique(keys, return_index=True)[1]] = True
        fresh &= (item >= 0) & ~np.isin(keys, taken)
        again = np.flatnonzero(~fresh)
        if not len(again):
            break
    item[again] = -1
    return item


def _merged(one: GeneratedEvents, two: GeneratedEvents) -> GeneratedEvents:
    columns = [np.concatenate(pair) for pair in zip(one, two, strict=True)]
    joined = GeneratedEvents(*columns)
    order = np.lexsort((joined.item, joined.user, joined.time))
    return GeneratedEvents(*(column[order] for column in columns))
