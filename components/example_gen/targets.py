"""Which engagements become targets, and in which split."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.config import ExampleGenConfig, SplitConfig
from components.example_gen.arrays import position_in_run, run_ends_per_row, run_starts
from components.example_gen.events import Events
from components.example_gen.periods import SECONDS_PER_DAY
from trainer import features

#: Splits of targets; a target's split is an index into this tuple.
TARGET_SPLITS = (features.TRAIN_SPLIT, features.VALIDATION_SPLIT, features.EVAL_SPLIT)
_TRAIN, _VALIDATION, _EVAL = range(3)


@dataclass(frozen=True)
class Targets:
    """Targets of one bucket and where their histories lie among the events.

    Attributes:
      row: `[targets]` int64 index of the target event.
      split: `[targets]` int64 index into `TARGET_SPLITS`.
      history_start: `[targets]` int64, first event strictly before the target.
      history_length: `[targets]` int64.
    """

    row: np.ndarray
    split: np.ndarray
    history_start: np.ndarray
    history_length: np.ndarray


def choose(
    events: Events, config: ExampleGenConfig, window_end: int, counts: Counter[str]
) -> Targets:
    """Chooses the targets among a bucket's events.

    Args:
      events: ordered events.
      config: patterns, repeats, history bounds and split.
      window_end: end (exclusive) of the eval period, for the time split.
      counts: `positive`, and one `dropped:<reason>` per reason are added to it.
    """
    rows = len(events.user)
    # Newest first: everything after a row's run of equal times is strictly earlier.
    before = run_ends_per_row(run_starts(events.user, events.timestamp))
    end = run_ends_per_row(run_starts(events.user))
    length = np.minimum(end - before, config.history_max_items)
    eligible = _matching(events.actions, config)[events.action]
    counts["positive"] += int(eligible.sum())
    checks = {
        "target_not_in_catalogue": np.asarray(pc.is_valid(events.topics))[events.item],
        "target_history_too_short": length >= config.history_min_items,
    }
    if config.repeat_targets == "drop":
        checks["target_repeats_item"] = ~_seen_before(events)
    if config.split.strategy == "time":
        checks["target_after_window"] = events.timestamp < window_end
    for reason, passes in checks.items():
        counts[f"dropped:{reason}"] += int((eligible & ~passes).sum())
        eligible &= passes
    row = np.flatnonzero(eligible) if rows else np.zeros(0, np.int64)
    if config.repeat_targets == "drop":
        # The same item at the same second under another action: one target.
        first = run_starts(events.user[row], events.timestamp[row], events.item[row])
        counts["dropped:target_repeats_item"] += int(len(row) - first.sum())
        row = row[first]
    return Targets(
        row=row,
        split=_splits(config.split, events.user[row], events.timestamp[row], window_end),
        history_start=before[row],
        history_length=length[row],
    )


def _matching(actions: pa.Array, config: ExampleGenConfig) -> np.ndarray:
    """Returns for each distinct action whether it makes a target (`[actions]` bool)."""
    return np.array(
        [
            _any_match(name, config.positive_actions)
            and not _any_match(name, config.negative_actions)
            for name in (value.decode("utf-8", "replace") for value in actions.to_pylist())
        ],
        bool,
    )


def _any_match(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _seen_before(events: Events) -> np.ndarray:
    """Marks events `[rows]` whose user engaged with the item strictly earlier."""
    order = np.argsort(events.user * max(len(events.item_ids), 1) + events.item, kind="stable")
    user, item, time = events.user[order], events.item[order], events.timestamp[order]
    # Stable: newest first within each (user, item), so the run's last row is the earliest.
    earliest = time[run_ends_per_row(run_starts(user, item)) - 1] if len(order) else time
    seen = np.zeros(len(order), bool)
    seen[order] = time > earliest
    return seen


def _splits(
    config: SplitConfig, user: np.ndarray, timestamp: np.ndarray, window_end: int
) -> np.ndarray:
    """Returns the split of each target (`[targets]`, sorted by user, newest first)."""
    if config.strategy == "time":
        eval_start = window_end - round(config.eval_days * SECONDS_PER_DAY)
        validation_start = eval_start - round(config.validation_days * SECONDS_PER_DAY)
        return np.where(
            timestamp >= eval_start,
            _EVAL,
            np.where(timestamp >= validation_start, _VALIDATION, _TRAIN),
        )
    starts = run_starts(user)
    position = position_in_run(starts)
    sizes = run_ends_per_row(starts) - (np.arange(len(user)) - position)
    newest = np.where(position == 0, _EVAL, np.where(position == 1, _VALIDATION, _TRAIN))
    return np.where(sizes >= 3, newest, _TRAIN)
