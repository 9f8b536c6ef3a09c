"""A catalogue and users whose vectors look like embeddings: clusters within clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

IMPLICIT_SLOTS, EXPLICIT_SLOTS = 7, 5
SLOTS = IMPLICIT_SLOTS + EXPLICIT_SLOTS
HISTORY = 50
TOPICS = 500
_CLUSTERS_PER_GROUP = 20
_CHUNK = 100_000


@dataclass(frozen=True)
class SampleItems:
    """Items.

    Attributes:
      vectors: `[items, dim]` float32 of length 1.
      cluster: `[items]` int32.
      topic: `[items]` int32; four of five items carry the topic of their cluster.
    """

    vectors: np.ndarray
    cluster: np.ndarray
    topic: np.ndarray

    @property
    def ids(self) -> list[bytes]:
        """Item ids in row order."""
        return [b"pin%d" % row for row in range(len(self.vectors))]

    @property
    def topics(self) -> list[list[bytes]]:
        """Topic names of each item."""
        return [[b"topic%d" % topic] for topic in self.topic]


@dataclass(frozen=True)
class SampleUsers:
    """Users with related interests.

    Attributes:
      vectors: `[users, slots, dim]` float32 of length 1.
      mass: `[users, slots]` float32, history items of each slot.
      history: `[users, 50]` int32 item rows.
      topic: `[users, slots]` int32, topic of the item that each vector is near to.
    """

    vectors: np.ndarray
    mass: np.ndarray
    history: np.ndarray
    topic: np.ndarray


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def make_catalogue(items: int, dim: int, seed: int = 0) -> SampleItems:
    """Draws items around clusters of Zipf sizes, the clusters around groups."""
    random = np.random.default_rng(seed)
    clusters = 500 if items <= 200_000 else 2000
    scale = dim**-0.5
    groups = random.normal(scale=scale, size=(clusters // _CLUSTERS_PER_GROUP, dim))
    group = random.integers(len(groups), size=clusters)
    centres = groups[group] + 0.7 * random.normal(scale=scale, size=(clusters, dim))
    weight = 1.0 / np.arange(1, clusters + 1) ** 0.7
    cluster = random.choice(clusters, size=items, p=weight / weight.sum()).astype(np.int32)
    vectors = np.empty((items, dim), np.float32)
    for start in range(0, items, _CHUNK):
        own = cluster[start : start + _CHUNK]
        noise = 0.6 * random.normal(scale=scale, size=(len(own), dim))
        vectors[start : start + _CHUNK] = _unit(centres[own] + noise)
    stray = random.random(items) < 0.2
    topic = np.where(stray, random.integers(TOPICS, size=items), cluster % TOPICS)
    return SampleItems(vectors, cluster, topic.astype(np.int32))


def make_users(catalogue: SampleItems, users: int, seed: int = 1) -> SampleUsers:
    """Draws users who like items of a few neighbouring clusters."""
    random = np.random.default_rng(seed)
    items, dim = catalogue.vectors.shape
    near = np.empty((users, HISTORY), np.int32)
    for user in range(users):
        pool = random.integers(items, size=20_000)
        seeds = catalogue.vectors[random.choice(pool, 3)]
        closest = np.argsort(-(catalogue.vectors[pool] @ seeds.T).max(axis=1))[:400]
        near[user] = random.choice(pool[closest], HISTORY)
    # Each slot stands for one item of the history; the first slots for more of it.
    source = near[:, :SLOTS]
    noise = 0.3 * random.normal(scale=dim**-0.5, size=(users, SLOTS, dim))
    vectors = _unit(catalogue.vectors[source] + noise).astype(np.float32)
    share = random.dirichlet(np.full(SLOTS, 5.0), size=users)
    mass = np.stack([random.multinomial(HISTORY, row) for row in share]) + 1
    return SampleUsers(vectors, mass.astype(np.float32), near, catalogue.topic[source])
