"""Unions: the result lists of several runs merged at an equal total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from trainer.retrieval.budgets import largest_remainder
from trainer.retrieval.merge import round_robin

_BATCH = 2048


@dataclass(frozen=True)
class Union:
    """One list per example.

    Attributes:
      lists: `[examples, n]` int32 catalogue rows, -1 pads.
      part: `[examples, n]` int8 part that brought the item, -1 pads.
      found_by: `[examples, n]` int64, bit p is set when part p had the item as well.
      kind: `[examples, n]` int8 kind of the slot that brought it within its part, -1 pads.
    """

    lists: np.ndarray
    part: np.ndarray
    found_by: np.ndarray
    kind: np.ndarray


def union(
    lists: Sequence[np.ndarray], kinds: Sequence[np.ndarray], shares: Sequence[float], n: int
) -> Union:
    """Merges lists by round-robin within each part's share of `n`.

    The parts are merged as the retriever merges its slots; their scores come from
    different models and cannot be compared, so the rank stands for the score.

    Args:
      lists: per part `[examples, depth]` int catalogue rows, each row without
        duplicates, below 0 ignored.
      kinds: per part, the same shape, kind of the slot that brought the item.
      shares: of each part, any scale.
      n: results per example.
    """
    depth = max(part.shape[1] for part in lists)
    rows = np.stack([_deep(part, depth, -1) for part in lists], axis=1)  # [examples, parts, depth]
    kind = np.stack([_deep(part, depth, -1) for part in kinds], axis=1)
    scores = np.broadcast_to(-np.arange(depth, dtype=np.float32), rows.shape)
    weights = tf.constant([list(shares)], tf.float32)
    budgets = largest_remainder(weights, tf.constant([n], tf.int32))
    merged = []
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        answer = round_robin(
            tf.constant(np.where(part < 0, -1, part).astype(np.int32)),
            tf.constant(scores[start : start + _BATCH]),
            tf.repeat(budgets, len(part), axis=0),
            n,
        )
        merged.append([v.numpy() for v in (answer.row, answer.slot, answer.found_by, answer.score)])
    if not merged:
        empty = np.zeros((0, n), np.int32)
        return Union(empty, empty.astype(np.int8), empty.astype(np.int64), empty.astype(np.int8))
    row, slot, found_by, score = (np.concatenate(parts) for parts in zip(*merged, strict=True))
    # The score of an item is minus its position in the part that brought it.
    place, example = (-score).astype(np.int64), np.arange(len(row))[:, None]
    brought = np.where(slot < 0, -1, kind[example, np.maximum(slot, 0), place]).astype(np.int8)
    return Union(row.astype(np.int32), slot.astype(np.int8), found_by.astype(np.int64), brought)


def part_overlap(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns how much of two lists is the same.

    Args:
      first: `[examples, depth]` int catalogue rows without duplicates, below 0 ignored.
      second: the same of the other part.

    Returns:
      `[examples]` float64 each: share of the first list that the second has, and the
      Jaccard index; NaN where either list is empty.
    """
    width = int(max(first.max(initial=0), second.max(initial=0))) + 1
    offset = np.arange(len(first), dtype=np.int64)[:, None] * width
    there = first >= 0
    shared = (np.isin(first + offset, (second + offset)[second >= 0]) & there).sum(axis=1)
    a, b = there.sum(axis=1), (second >= 0).sum(axis=1)
    both = (a > 0) & (b > 0)
    share = np.where(both, shared / np.maximum(a, 1), np.nan)
    jaccard = np.where(both, shared / np.maximum(a + b - shared, 1), np.nan)
    return share, jaccard


def _deep(part: np.ndarray, depth: int, fill: int) -> np.ndarray:
    return np.pad(part, ((0, 0), (0, depth - part.shape[1])), constant_values=fill)
