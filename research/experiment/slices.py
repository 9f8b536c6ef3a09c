"""Slices of the eval examples that an experiment reports apart."""

from __future__ import annotations

import numpy as np

from components.evaluator.slices import SliceMasks, make_slices
from research.experiment.population import Population

_LENGTHS = ((0, 0), (1, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, 100))
#: Places among a user's topics: 1 is the head, up to this the torso, the rest the tail.
TORSO_LAST = 3


def population_slices(population: Population) -> SliceMasks:
    """Returns `slice -> value -> [examples] bool`; values without examples are left out.

    The values of a slice never overlap. `activity`, `history_length`,
    `history_tercile`, `follows`, `followed_target` and `target` cover every
    example, `interest` those whose user has a history and whose target carries a
    topic.
    """
    length = population.history_length
    follows = np.diff(population.follows.indptr)
    common = make_slices(length, follows, population.target_new)
    slices: SliceMasks = {
        "activity": common.get("activity", {}),
        "history_tercile": history_terciles(length),
        "history_length": history_ranges(length),
        "follows": {"followers": follows > 0, "non_followers": follows == 0},
        "interest": interest_masks(interest_rank(population)),
        "followed_target": _followed(population),
        "target": common.get("target", {}),
    }
    filled = {
        name: {value: mask for value, mask in values.items() if mask.any()}
        for name, values in slices.items()
    }
    return {name: values for name, values in filled.items() if values}


def history_terciles(length: np.ndarray) -> dict[str, np.ndarray]:
    """Cuts the examples into thirds by history length; equal lengths stay together.

    Where many histories are cut at the same longest length, these are the long ones.
    """
    low, high = np.quantile(length, [1 / 3, 2 / 3]) if len(length) else (0.0, 0.0)
    return {
        "short": length <= low,
        "middle": (length > low) & (length < high),
        "long": (length > low) & (length >= high),
    }


def history_ranges(length: np.ndarray) -> dict[str, np.ndarray]:
    """Cuts the examples by fixed ranges of history length."""
    ranges = {
        str(low) if low == high else f"{low}-{high}": (length >= low) & (length <= high)
        for low, high in _LENGTHS
    }
    ranges[f"{_LENGTHS[-1][1] + 1}+"] = length > _LENGTHS[-1][1]
    return ranges


def interest_masks(rank: np.ndarray) -> dict[str, np.ndarray]:
    """Turns `interest_rank` into head, torso and tail; rank 0 is in none of them."""
    return {
        "head": rank == 1,
        "torso": (rank > 1) & (rank <= TORSO_LAST),
        "tail": rank > TORSO_LAST,
    }


def interest_rank(population: Population) -> np.ndarray:
    """Returns the place of the target's primary topic among those of the user's history.

    Topics are ordered by how many history items have them as primary topic, then
    by the newest such item. A topic that the history does not have comes after all
    others, and never before the tail.

    Returns:
      `[examples]` int64 from 1; 0 where there is no history with topics, or the target
      has none.
    """
    count = len(population)
    owner = np.repeat(np.arange(count), np.diff(population.history_start))
    topic = np.where(population.history >= 0, population.primary[population.history], -1)
    place = np.arange(len(topic))
    known = topic >= 0
    width = max(1, population.topics.shape[1])
    # One group per (example, topic); positions rise, so the first index is the newest item.
    key, first, size = np.unique(
        owner[known].astype(np.int64) * width + topic[known], return_index=True, return_counts=True
    )
    group_owner, newest = key // width, place[known][first]
    target = np.where(population.target >= 0, population.primary[population.target], -1)
    groups = np.bincount(group_owner, minlength=count)
    wanted = np.arange(count, dtype=np.int64) * width + np.maximum(target, 0)
    at = np.searchsorted(key, wanted)
    safe = np.minimum(at, max(len(key) - 1, 0))
    inside = (at < len(key)) & (target >= 0)
    if len(key):
        inside &= key[safe] == wanted
    own_size, own_newest = np.zeros(count, np.int64), np.full(count, np.iinfo(np.int64).max)
    own_size[inside], own_newest[inside] = size[safe[inside]], newest[safe[inside]]
    before = (size > own_size[group_owner]) | (
        (size == own_size[group_owner]) & (newest < own_newest[group_owner])
    )
    rank = 1 + np.bincount(group_owner[before], minlength=count)
    rank = np.where(inside, rank, np.maximum(rank, TORSO_LAST + 1))
    return np.where((target >= 0) & (groups > 0), rank, 0)


def _followed(population: Population) -> dict[str, np.ndarray]:
    """Divides by whether the target carries a topic that the user follows."""
    known = population.target >= 0
    carried = population.topics[np.maximum(population.target, 0)]
    shared = np.asarray(carried.multiply(population.follows).sum(axis=1)).ravel()
    source = known & (shared > 0)
    return {"source": source, "no_source": ~source}
