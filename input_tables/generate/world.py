"""Topics, latent interests and items of the synthetic world."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from input_tables.generate.config import GeneratorConfig
from input_tables.generate.names import topic_names
from input_tables.generate.pools import Pools

_DAY = 86_400
#: Exponent of an item's popularity where a search finds it.
SEARCH_FLATTENING = 0.3
#: Chances that an item carries ...
_OWN, _BROAD, _RELATED, _STRAY = 0.95, 0.6, 0.35, 0.08


class World(NamedTuple):
    """Everything that does not depend on users.

    Attributes:
      topic_names: `[topics]`, broad ones first.
      broad: number of broad topics.
      topic_share: float64 `[topics]` popularity, sums to 1.
      interest_topic: int64 `[interests]` sub-topic of each latent interest.
      item_interest: int64 `[items]`.
      item_created: int64 `[items]` seconds since 1970.
      item_weight: float64 `[items]` popularity.
      item_topic: int64 `[pairs, 2]` (item, topic), sorted.
      by_interest: items by latent interest, popular ones more often.
      by_interest_flat: the same, popularity flattened (search reaches the tail).
      by_topic: items by topic.
    """

    topic_names: list[str]
    broad: int
    topic_share: np.ndarray
    interest_topic: np.ndarray
    item_interest: np.ndarray
    item_created: np.ndarray
    item_weight: np.ndarray
    item_topic: np.ndarray
    by_interest: Pools
    by_interest_flat: Pools
    by_topic: Pools


def make_world(config: GeneratorConfig, rng: np.random.Generator) -> World:
    """Draws topics, latent interests and items."""
    broad = max(2, round(config.topics / 7))
    fine = config.topics - broad
    names, parents = topic_names(broad, fine)
    interest_topic = broad + np.arange(fine * config.styles_per_topic) // config.styles_per_topic
    share = rng.permutation(1.0 / np.arange(1, config.topics + 1) ** 0.5)
    share /= share.sum()
    interests = _item_interests(config, rng, share[interest_topic])
    created = _created(config, rng, len(interest_topic))
    weights = (1.0 + rng.permutation(config.items)) ** -config.zipf_exponent
    pairs = _item_topics(config, rng, interest_topic[interests], np.asarray(parents), broad)
    items = np.arange(config.items)
    return World(
        topic_names=names,
        broad=broad,
        topic_share=share,
        interest_topic=interest_topic,
        item_interest=interests,
        item_created=created,
        item_weight=weights,
        item_topic=pairs,
        by_interest=Pools(interests, items, created, weights),
        by_interest_flat=Pools(interests, items, created, weights**SEARCH_FLATTENING),
        by_topic=Pools(pairs[:, 1], pairs[:, 0], created[pairs[:, 0]], weights[pairs[:, 0]]),
    )


def _item_interests(
    config: GeneratorConfig, rng: np.random.Generator, share: np.ndarray
) -> np.ndarray:
    """Every interest gets an item while there are enough, the rest by popularity."""
    share = share / share.sum()
    mixed = 0.5 * share + 0.5 / len(share)
    interests = rng.choice(len(share), config.items, p=mixed)
    seeded = min(config.items, len(share))
    interests[:seeded] = np.arange(seeded)
    return interests


def _created(config: GeneratorConfig, rng: np.random.Generator, interests: int) -> np.ndarray:
    """The first item of each interest is old, so that no interest starts empty."""
    old = config.start - rng.integers(1, 90 * _DAY, config.items)
    new = config.start + rng.integers(0, config.days * _DAY, config.items)
    is_new = rng.random(config.items) < config.new_item_share
    is_new[: min(interests, config.items)] = False
    return np.where(is_new, new, old)


def _item_topics(
    config: GeneratorConfig,
    rng: np.random.Generator,
    own: np.ndarray,
    parents: np.ndarray,
    broad: int,
) -> np.ndarray:
    """Returns sorted (item, topic) pairs: own sub-topic, its broad one, a related, a stray."""
    items = np.arange(config.items)
    fine = len(parents)
    # Two relatives of each sub-topic: mostly of the same broad topic, so topics correlate.
    near = (np.arange(fine)[:, None] + broad * np.array([1, 2])) % fine
    near[:, 1] = np.where(rng.random(fine) < 0.5, rng.integers(0, fine, fine), near[:, 1])
    related = broad + near[own - broad, rng.integers(0, 2, config.items)]
    stray = rng.integers(0, config.topics, config.items)
    parts = []
    for topics, chance in (
        (own, _OWN),
        (parents[own - broad], _BROAD),
        (related, _RELATED),
        (stray, _STRAY),
    ):
        chosen = rng.random(config.items) < chance
        parts.append(items[chosen] * config.topics + topics[chosen])
    keys = np.unique(np.concatenate(parts))
    return np.stack([keys // config.topics, keys % config.topics], axis=1)
