"""What implicit and explicit slots bring, and which slots bring nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.evaluator.replay import Results
from trainer.retrieval.budgets import EXPLICIT, IMPLICIT

#: A slot that brings less than this share of all results is called dead.
_DEAD_SHARE = 0.001
_CLUSTER_SIZE_MAX = 50


def slot_report(results: Results, ranks: np.ndarray) -> dict[str, Any]:
    """Summarises the slots.

    Args:
      results: of the served retriever.
      ranks: `[examples]` 1-based rank of the target, 0 when not found.

    Returns:
      `implicit_share`, `explicit_share`: of all results; `hits_by_kind`: share of
      the hits each kind brought; `overlap`: share of implicit results that an
      explicit slot had found as well, over examples with explicit slots;
      `slot_use`: share of all results by slot; `slot_valid`: share of examples
      in which a slot was asked; `dead_slots`: slots that bring next to nothing.
    """
    total = max(1, int((results.kind >= 0).sum()))
    hit = np.flatnonzero(ranks > 0)
    hit_kind = results.kind[hit, ranks[hit] - 1]
    slots = results.slot_valid.shape[1]
    use = [float((results.slot == slot).sum()) / total for slot in range(slots)]
    return {
        "implicit_share": float((results.kind == IMPLICIT).sum()) / total,
        "explicit_share": float((results.kind == EXPLICIT).sum()) / total,
        "hits_by_kind": {
            "implicit": float((hit_kind == IMPLICIT).sum()) / max(1, len(hit)),
            "explicit": float((hit_kind == EXPLICIT).sum()) / max(1, len(hit)),
        },
        "overlap": _overlap(results),
        "slot_use": use,
        "slot_valid": [float(share) for share in results.slot_valid.mean(axis=0)]
        if len(ranks)
        else [],
        "dead_slots": [slot for slot, share in enumerate(use) if share < _DEAD_SHARE],
    }


def _overlap(results: Results) -> float | None:
    """Returns the overlap, None when no example has an explicit slot."""
    explicit = np.unique(results.slot[results.kind == EXPLICIT])
    if not len(explicit):
        return None
    bits = np.int64(sum(1 << int(slot) for slot in explicit))
    asked = results.slot_valid[:, explicit].any(axis=1)
    implicit = (results.kind == IMPLICIT) & asked[:, None]
    shared = implicit & ((results.found_by & bits) != 0)
    return float(shared.sum()) / max(1, int(implicit.sum()))


def cluster_sizes(results: Results) -> list[int]:
    """Returns how many clusters of 1, 2, ... history items there are (the last: or more)."""
    sizes = np.minimum(results.cluster_sizes, _CLUSTER_SIZE_MAX)
    counts = np.bincount(sizes[sizes > 0].ravel(), minlength=1)[1:]
    return [int(count) for count in counts]
