"""Users of the synthetic world: latent interests, joining time, followed topics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from input_tables.generate.config import GeneratorConfig
from input_tables.generate.world import World

_DAY = 86_400
_MAX_EXTRA = 4
#: Users who follow nothing at all.
_NO_FOLLOWS = 0.15
#: Follows without an interest behind them that are used all the same.
_USED_EXTRA = 0.5
FOREVER = np.iinfo(np.int64).max


class Users(NamedTuple):
    """One chunk of users.

    Attributes:
      first: number of the first user.
      joined: int64 `[users]` seconds since 1970.
      interests: int64 `[users, slots]`, -1 where a user has fewer.
      weights: float64 `[users, slots]`, each row sums to 1.
      rows: int64 `[users]` expected engagements, as drawn.
      topic: int64 `[users, follows]` followed topic, -1 for none.
      since: int64 `[users, follows]`, 0 for an undated follow.
      until: int64 `[users, follows]`, `FOREVER` while in force.
      used: bool `[users, follows]` whether the user opens that topic's feed.
    """

    first: int
    joined: np.ndarray
    interests: np.ndarray
    weights: np.ndarray
    rows: np.ndarray
    topic: np.ndarray
    since: np.ndarray
    until: np.ndarray
    used: np.ndarray


def make_users(
    config: GeneratorConfig, world: World, rng: np.random.Generator, first: int, count: int
) -> Users:
    """Draws `count` users, numbered from `first`."""
    late = config.start + (rng.random(count) * max(1, config.days - 1) * _DAY).astype(np.int64)
    joined = np.where(rng.random(count) < config.new_user_share, late, config.start)
    interests, weights = _interests(config, world, rng, count)
    activity = rng.lognormal(-0.5, 1.0, count)  # mean 1
    expected = np.maximum(1.0, activity * config.engagements / config.users)
    most = min(max(1, config.items // 3), config.user_events_max or config.items)
    rows = np.clip(rng.poisson(expected), config.user_events_min or 0, most)
    follows = _follows(config, world, rng, interests, joined)
    return Users(first, joined, interests, weights, rows, *follows)


def _interests(
    config: GeneratorConfig, world: World, rng: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct sub-topics by popularity (Gumbel top-k), a style of each, Dirichlet weights."""
    fine = len(world.topic_names) - world.broad
    slots = min(config.interests_max, fine)
    scores = np.log(world.topic_share[world.broad :]) + rng.gumbel(size=(count, fine))
    topics = np.argsort(-scores, axis=1)[:, :slots]
    styles = rng.integers(0, config.styles_per_topic, (count, slots))
    interests = topics * config.styles_per_topic + styles
    number = rng.integers(min(config.interests_min, slots), slots + 1, count)
    absent = np.arange(slots) >= number[:, None]
    weights = rng.gamma(config.interest_concentration, size=(count, slots)) + 1e-9
    weights[absent] = 0.0
    interests[absent] = -1
    return interests, weights / weights.sum(axis=1, keepdims=True)


def _follows(
    config: GeneratorConfig,
    world: World,
    rng: np.random.Generator,
    interests: np.ndarray,
    joined: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Follows overlap with interests only partly: some of each lie outside the other."""
    count = len(joined)
    own = np.where(interests >= 0, world.interest_topic[interests], -1)
    own[rng.random(own.shape) >= config.follow_share] = -1
    extra = rng.choice(len(world.topic_names), (count, _MAX_EXTRA), p=world.topic_share)
    number = np.minimum(rng.poisson(config.extra_follows, count), _MAX_EXTRA)
    extra[np.arange(_MAX_EXTRA) >= number[:, None]] = -1
    topic = np.concatenate([own, extra], axis=1)
    topic[rng.random(count) < _NO_FOLLOWS] = -1
    for slot in range(1, topic.shape[1]):
        repeated = (topic[:, :slot] == topic[:, slot : slot + 1]).any(axis=1)
        topic[repeated, slot] = -1
    shape = topic.shape
    dated = joined[:, None] + (rng.random(shape) * (config.end - joined)[:, None]).astype(np.int64)
    since = np.where(rng.random(shape) < config.undated_share, 0, dated)
    ended = since + 1 + (rng.random(shape) * (config.end - 1 - since)).astype(np.int64)
    ends = (since > 0) & (rng.random(shape) < config.unfollow_share)
    until = np.where(ends, np.minimum(ended, config.end - 1), FOREVER)
    used = rng.random(shape) < _USED_EXTRA
    used[:, : own.shape[1]] = True
    return topic, since, until, used
