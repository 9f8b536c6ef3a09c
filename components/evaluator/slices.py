"""Slices of the examples for which metrics are reported apart."""

from __future__ import annotations

import numpy as np

from components.evaluator.examples import EvalExamples
from components.evaluator.items import Items
from components.evaluator.training_log import TrainingLog
from components.examples_io import padded
from trainer import features

#: slice -> value -> `[examples]` bool
SliceMasks = dict[str, dict[str, np.ndarray]]
#: slice -> value -> metric -> figure, with the number of examples as `n`
SliceMetrics = dict[str, dict[str, dict[str, float]]]

_HISTORY_BUCKETS = ((0, 0), (1, 2), (3, 5), (6, 10), (11, 20), (21, 50))


def make_slices(
    history_length: np.ndarray, follows: np.ndarray, target_is_new: np.ndarray
) -> SliceMasks:
    """Returns `slice -> value -> mask`; values without examples are left out.

    `activity`: `new` users have no history, `non_core` ones less than the median
    of the others, `core` ones the rest. `history_length` and `follows` are
    ranges. `target`: `new` items never occur in what the model learned from.

    Args:
      history_length: `[examples]` int.
      follows: `[examples]` int, followed topics.
      target_is_new: `[examples]` bool.
    """
    active = history_length[history_length > 0]
    median = float(np.median(active)) if len(active) else 0.0
    buckets = {
        str(low) if low == high else f"{low}-{high}": (history_length >= low)
        & (history_length <= high)
        for low, high in _HISTORY_BUCKETS
    }
    buckets[f"{_HISTORY_BUCKETS[-1][1] + 1}+"] = history_length > _HISTORY_BUCKETS[-1][1]
    slices = {
        "activity": {
            "new": history_length == 0,
            "non_core": (history_length > 0) & (history_length < median),
            "core": (history_length > 0) & (history_length >= median),
        },
        "history_length": buckets,
        "follows": {
            "0": follows == 0,
            "1-2": (follows >= 1) & (follows <= 2),
            "3+": follows >= 3,
        },
        "target": {"new": target_is_new, "known": ~target_is_new},
    }
    return _not_empty(slices)


def cold_slices(examples: EvalExamples, items: Items, log: TrainingLog) -> SliceMasks:
    """Returns slices of what a model can know little about; empty values are left out.

    `target_events`: users of what the model learned from who engaged with the target; targets
    that the catalogue lacks count as 0. `target_topics`: `none` for a target without topics,
    `unseen` if no item that the model learned from carries one of them, `seen` otherwise.
    `followed_topics`: `without_items` for users who follow topics that no item carries alone.

    Args:
      examples: what is asked.
      items: the catalogue.
      log: what was known before.
    """
    known, row = examples.target >= 0, np.maximum(examples.target, 0)
    events = np.where(known, log.events[row], 0)
    carried = np.diff(items.topics.indptr)[row]
    seen_topic = np.asarray(items.topics[log.seen].sum(axis=0)).ravel() > 0
    of_seen = (np.asarray(items.topics @ seen_topic).ravel() > 0)[row]
    slices = {
        "target_events": {
            "0": events == 0,
            "1": events == 1,
            "2-9": (events >= 2) & (events <= 9),
            "10+": events >= 10,
        },
        "target_topics": {
            "none": known & (carried == 0),
            "unseen": known & (carried > 0) & ~of_seen,
            "seen": known & of_seen,
        },
    }
    if len(examples):
        follows = padded(examples.table, features.FOLLOWED_TOPIC, _longest(examples), b"")
        alive = np.diff(items.followed(follows).indptr) > 0
        follower = examples.follows > 0
        slices["followed_topics"] = {"with_items": alive, "without_items": follower & ~alive}
    return _not_empty(slices)


def _longest(examples: EvalExamples) -> int:
    return max(1, int(examples.follows.max()))


def _not_empty(slices: SliceMasks) -> SliceMasks:
    return {
        name: {value: mask for value, mask in values.items() if mask.any()}
        for name, values in slices.items()
    }


def slice_metrics(slices: SliceMasks, values: dict[str, np.ndarray]) -> SliceMetrics:
    """Averages per-example metrics over each slice and adds its size as `n`."""
    return {
        name: {
            value: {
                "n": int(mask.sum()),
                **{metric: float(v[mask].mean()) for metric, v in values.items()},
            }
            for value, mask in masks.items()
        }
        for name, masks in slices.items()
    }
