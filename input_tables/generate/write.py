"""Writes a simulation to a folder of tables."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.files import write_json
from core.progress import track
from input_tables.contract import ENGAGEMENTS, FOLLOWS, ITEMS, USERS
from input_tables.generate.config import GeneratorConfig
from input_tables.generate.features import add_item_features, user_features
from input_tables.generate.simulate import simulate
from input_tables.output import FileFormat, TableWriter, whole_folder

_DAY = 86_400


def write_generated(
    config: GeneratorConfig,
    out: str | Path,
    file_format: FileFormat = "parquet",
    layout: Literal["single", "spans"] = "single",
    force: bool = False,
) -> dict[str, Any]:
    """Generates tables into `out`, which appears whole or not at all.

    `truth/` holds what no model may read: which latent interest drove which
    engagement, the interests of users and of items.

    Returns:
      Counts: engagements, users, items, follows, and `seconds`.
    """
    started = time.monotonic()
    counts: dict[str, Any] = {"engagements": 0, "users": config.users, "items": config.items}
    counts["follows"] = 0
    simulation = simulate(config)
    with whole_folder(out, force) as root, ExitStack() as stack:
        engagements = _engagement_sink(root, config, file_format, layout, stack)
        truth = stack.enter_context(TableWriter(root / "truth", "engagements", "parquet"))
        user_truth = stack.enter_context(TableWriter(root / "truth", "users", "parquet"))
        follows, people = [], []
        with track("generate", config.users) as bar:
            for number, chunk in enumerate(simulation.chunks):
                if config.features:
                    people.append(user_features(config, chunk.user_truth, number))
                engagements(chunk.engagements)
                truth.write(chunk.engagement_truth)
                user_truth.write(chunk.user_truth)
                follows.append(chunk.follows)
                counts["engagements"] += chunk.engagements.num_rows
                counts["follows"] += chunk.follows.num_rows
                bar.advance(len(pc.unique(chunk.user_truth["user_id"])))
        with TableWriter(root / "truth", "items", "parquet") as writer:
            writer.write(simulation.item_truth)
        items = simulation.items
        if config.features:
            items = add_item_features(config, items, simulation.item_truth)
            _write_users(root, config, file_format, layout, pa.concat_tables(people))
        _write_snapshots(root, config, file_format, layout, items, pa.concat_tables(follows))
        stack.close()
        write_json(root / "generator.json", config.model_dump(mode="json"))
    return {**counts, "seconds": round(time.monotonic() - started, 2)}


def _days(config: GeneratorConfig) -> list[dt.date]:
    first = config.end_date - dt.timedelta(days=config.days - 1)
    return [first + dt.timedelta(days=n) for n in range(config.days)]


def _engagement_sink(
    root: Path,
    config: GeneratorConfig,
    file_format: FileFormat,
    layout: Literal["single", "spans"],
    stack: ExitStack,
) -> Callable[[pa.Table], None]:
    """Returns what takes chunks of engagements, sorted by time."""
    if layout == "single":
        return stack.enter_context(TableWriter(root, ENGAGEMENTS, file_format)).write
    writers = [
        stack.enter_context(TableWriter(root / ENGAGEMENTS / f"span={day}", "part-0", file_format))
        for day in _days(config)
    ]
    bounds = config.start + np.arange(config.days + 1) * _DAY

    def write(table: pa.Table) -> None:
        cuts = np.searchsorted(table["timestamp"].to_numpy(), bounds)
        for writer, low, high in zip(writers, cuts[:-1], cuts[1:], strict=True):
            writer.write(table.slice(low, high - low))

    return write


def _write_users(
    root: Path,
    config: GeneratorConfig,
    file_format: FileFormat,
    layout: Literal["single", "spans"],
    users: pa.Table,
) -> None:
    """Writes the table of users, once or the same on each day."""
    places = [(root, str(USERS))]
    if layout == "spans":
        places = [(root / USERS / f"span={day}", "part-0") for day in _days(config)]
    for folder, stem in places:
        with TableWriter(folder, stem, file_format) as writer:
            writer.write(users)


def _write_snapshots(
    root: Path,
    config: GeneratorConfig,
    file_format: FileFormat,
    layout: Literal["single", "spans"],
    items: pa.Table,
    follows: pa.Table,
) -> None:
    """Writes items and follows: once, or as known at the end of each day."""
    if layout == "single":
        with TableWriter(root, ITEMS, file_format) as writer:
            writer.write(items)
        with TableWriter(root, FOLLOWS, file_format) as writer:
            writer.write(follows)
        return
    for number, day in enumerate(_days(config)):
        end = config.start + (number + 1) * _DAY
        known = items.filter(pc.less(items["created_at"], end))
        with TableWriter(root / ITEMS / f"span={day}", "part-0", file_format) as writer:
            writer.write(known)
        begun = pc.or_kleene(pc.is_null(follows["timestamp"]), pc.less(follows["timestamp"], end))
        made = follows.filter(begun)
        over = pc.less(made["unfollowed_at"], end)
        until = pc.if_else(over, made["unfollowed_at"], pa.scalar(None, pa.int64()))
        made = made.set_column(3, "unfollowed_at", until)
        with TableWriter(root / FOLLOWS / f"span={day}", "part-0", file_format) as writer:
            writer.write(made)
