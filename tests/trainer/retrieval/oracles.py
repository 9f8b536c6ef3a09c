"""Budgets, merges and retrieval in plain Python, written from the documentation alone."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

Candidate = tuple[int, float]


def largest_remainder(weights: list[float], total: int) -> list[int]:
    usable = [Fraction(w) if math.isfinite(w) and w > 0 else Fraction(0) for w in weights]
    whole = sum(usable)
    if not whole:
        return [0] * len(weights)
    quotas = [w * total / whole for w in usable]
    result = [math.floor(q) for q in quotas]
    by_rest = sorted(range(len(weights)), key=lambda i: (result[i] - quotas[i], i))
    for i in by_rest[: total - sum(result)]:
        result[i] += 1
    return result


def slot_budgets(
    mass: list[float], valid: list[bool], kind: list[int], total: int, explicit_share: float
) -> list[int]:
    explicit = [v and k == 1 for v, k in zip(valid, kind, strict=True)]
    implicit = [v and k == 0 for v, k in zip(valid, kind, strict=True)]
    if any(explicit) and any(implicit):
        for_explicit = math.floor(total * explicit_share + 0.5)
    else:
        for_explicit = total if any(explicit) else 0
    weights = [m if i else 0.0 for m, i in zip(mass, implicit, strict=True)]
    if not any(w > 0 for w in weights):
        weights = [float(i) for i in implicit]
    first = largest_remainder(weights, total - for_explicit)
    second = largest_remainder([float(e) for e in explicit], for_explicit)
    return [a + b for a, b in zip(first, second, strict=True)]


def usable(rows: list[int], scores: list[float]) -> list[Candidate]:
    return [
        (row, score)
        for row, score in zip(rows, scores, strict=True)
        if row >= 0 and math.isfinite(score)
    ]


def round_robin(slots: list[list[Candidate]], budgets: list[int], n: int) -> list[tuple]:
    """Returns [(item, score, slot)]."""
    result: list[tuple] = []
    chosen: set[int] = set()
    depth = max([len(s) for s in slots] + [0])
    for beyond in (False, True):
        for turn in range(depth):
            for slot, candidates in enumerate(slots):
                if (turn >= budgets[slot]) != beyond or turn >= len(candidates):
                    continue
                item, score = candidates[turn]
                if item not in chosen and len(result) < n:
                    chosen.add(item)
                    result.append((item, score, slot))
    return result


def best_score(slots: list[list[Candidate]], n: int) -> list[tuple]:
    everything = sorted(
        (-score, slot, rank, item)
        for slot, candidates in enumerate(slots)
        for rank, (item, score) in enumerate(candidates)
    )
    result: list[tuple] = []
    chosen: set[int] = set()
    for negative, slot, _rank, item in everything:
        if item not in chosen and len(result) < n:
            chosen.add(item)
            result.append((item, -negative, slot))
    return result


def balanced(
    slots: list[list[Candidate]], budgets: list[int], balance: float, n: int
) -> list[tuple]:
    """Greedy: the slot that stands highest has the next turn and loses by it."""
    result: list[tuple] = []
    chosen: set[int] = set()
    turn = [0] * len(slots)
    while len(result) < n:
        open_slots = [s for s, candidates in enumerate(slots) if turn[s] < len(candidates)]
        if not open_slots:
            break

        def stands(slot: int) -> float:
            return slots[slot][turn[slot]][1] - balance * turn[slot] / max(budgets[slot], 1)

        best = max(open_slots, key=lambda slot: (stands(slot), -slot))
        item, score = slots[best][turn[best]]
        turn[best] += 1
        if item not in chosen:
            chosen.add(item)
            result.append((item, score, best))
    return result


def found_by(slots: list[list[Candidate]], item: int, n: int) -> int:
    return sum(
        1 << slot
        for slot, candidates in enumerate(slots)
        if item in [row for row, _ in candidates[:n]]
    )


def search(query: np.ndarray, vectors: np.ndarray, rows: list[int]) -> list[Candidate]:
    """Every given row with its score, best first, equal scores by row."""
    scores = {row: float(vectors[row] @ query) for row in rows}
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
