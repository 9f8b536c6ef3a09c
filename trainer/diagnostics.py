"""Health of a multi-embedding model: balance, use, collapse and norms of its slots."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: Mean pairwise cosine of a user's embeddings above which the slots say the same thing.
COLLAPSE_COSINE = 0.98
#: Share of the best-slot choices below which a slot counts as dead.
DEAD_SHARE = 0.01


def slot_health(
    embeddings: np.ndarray, slot_valid: np.ndarray, history_slot: np.ndarray, best_slot: np.ndarray
) -> dict[str, float]:
    """Summarises the slots of a sample of users.

    Args:
      embeddings: [users, slots, dim] float32.
      slot_valid: [users, slots] bool.
      history_slot: [users, length] int32, slot that each item feeds, -1 for none.
      best_slot: [users] int32, the slot that scored the user's target highest.

    Returns:
      `cluster_balance`: mean entropy of a user's cluster sizes over its maximum, among users
        with two valid slots or more; `slots_valid`: mean number of valid slots; `slot_use`:
        entropy of the best slots over its maximum; `dead_slots`: slots that are the best for
        less than 1 % of users; `slot_cosine`: mean pairwise cosine of a user's valid
        embeddings; `user_norm`: mean norm of valid embeddings.
    """
    slots = slot_valid.shape[1]
    several = slot_valid.sum(1) >= 2
    use = np.bincount(best_slot, minlength=slots) / max(len(best_slot), 1)
    norms = np.linalg.norm(embeddings, axis=-1)
    return {
        "cluster_balance": _balance(history_slot[several], slot_valid[several]),
        "slots_valid": float(slot_valid.sum(1).mean()) if len(slot_valid) else 0.0,
        "slot_use": entropy_of(use) / np.log(slots) if slots > 1 else 1.0,
        "dead_slots": float((use < DEAD_SHARE).sum()),
        "slot_cosine": _pairwise_cosine(embeddings[several], slot_valid[several]),
        "user_norm": float(norms[slot_valid].mean()) if slot_valid.any() else 0.0,
    }


def warnings(health: Mapping[str, float], slots: int) -> list[str]:
    """Returns one sentence for each sign of collapse; empty when all is well."""
    if slots < 2:
        return []
    found = []
    if health["slot_cosine"] > COLLAPSE_COSINE:
        found.append(
            f"the {slots} embeddings of a user are nearly equal (mean cosine "
            f"{health['slot_cosine']:.3f} > {COLLAPSE_COSINE})"
        )
    if health["dead_slots"] > slots / 2:
        found.append(f"{health['dead_slots']:.0f} of {slots} slots are hardly ever the best one")
    return found


def _balance(history_slot: np.ndarray, slot_valid: np.ndarray) -> float:
    if not len(history_slot):
        return 0.0
    slots = slot_valid.shape[1]
    sizes = (history_slot[:, :, np.newaxis] == np.arange(slots)).sum(1).astype(float)  # [U, S]
    shares = sizes / np.maximum(sizes.sum(1, keepdims=True), 1.0)
    return float(np.mean(entropy_of(shares) / np.log(np.maximum(slot_valid.sum(1), 2))))


def entropy_of(shares: np.ndarray) -> np.ndarray:
    """Returns the entropy along the last axis, in nats; 0 log 0 is 0."""
    return -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=-1)


def _pairwise_cosine(embeddings: np.ndarray, slot_valid: np.ndarray) -> float:
    if not len(embeddings):
        return 0.0
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=-1, keepdims=True), 1e-12)
    cosines = np.einsum("usd,utd->ust", unit, unit)
    pairs = slot_valid[:, :, np.newaxis] & slot_valid[:, np.newaxis, :]
    pairs &= ~np.eye(slot_valid.shape[1], dtype=bool)
    return float(cosines[pairs].mean()) if pairs.any() else 0.0
