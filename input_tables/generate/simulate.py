"""Runs the synthetic world chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from input_tables.generate.arrow import Chunk, Names, chunk_tables, item_tables
from input_tables.generate.config import GeneratorConfig
from input_tables.generate.events import make_events
from input_tables.generate.streams import add_streams
from input_tables.generate.users import make_users
from input_tables.generate.world import make_world

#: Bounds of one chunk, which bound memory: rows, and users times sub-topics.
_CHUNK_ROWS = 1_000_000
_CHUNK_CELLS = 4_000_000


class Simulation(NamedTuple):
    """A world and the chunks of its users, drawn as they are asked for."""

    items: pa.Table
    item_truth: pa.Table
    chunks: Iterator[Chunk]


class Generated(NamedTuple):
    """Everything in memory; for tests and small sets."""

    engagements: pa.Table
    items: pa.Table
    follows: pa.Table
    engagement_truth: pa.Table
    user_truth: pa.Table
    item_truth: pa.Table


def simulate(config: GeneratorConfig) -> Simulation:
    """Starts a simulation; equal configurations give equal rows."""
    world = make_world(config, np.random.default_rng([config.seed, 0]))
    names = Names.of(config, world)
    items, truth = item_tables(world, names)
    by_rows = _CHUNK_ROWS * config.users // config.engagements
    size = int(np.clip(min(by_rows, _CHUNK_CELLS // config.topics), 1, config.users))

    def chunks() -> Iterator[Chunk]:
        for number, first in enumerate(range(0, config.users, size)):
            rng = np.random.default_rng([config.seed, 1, number])
            users = make_users(config, world, rng, first, min(size, config.users - first))
            events = make_events(config, world, users, rng)
            extra = np.random.default_rng([config.seed, 2, number])
            events = add_streams(config, world, users, events, extra)
            yield chunk_tables(world, names, users, events)

    return Simulation(items, truth, chunks())


def generate(config: GeneratorConfig) -> Generated:
    """Generates all tables and their ground truth in memory."""
    simulation = simulate(config)
    chunks = list(simulation.chunks)
    columns = [pa.concat_tables(parts) for parts in zip(*chunks, strict=True)]
    engagements, follows, engagement_truth, user_truth = columns
    return Generated(
        engagements, simulation.items, follows, engagement_truth, user_truth, simulation.item_truth
    )
