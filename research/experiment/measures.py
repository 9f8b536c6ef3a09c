"""What is measured of one row's result lists and slots.

Per-example values are `[examples]` float64 with NaN where a value does not exist
(no followed topics, no hit, fewer than two slots); a figure is their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from components.evaluator import metrics
from trainer.diagnostics import DEAD_SHARE, entropy_of
from trainer.retrieval.budgets import EXPLICIT, IMPLICIT

KS = (10, 50, 100)
TOPICS_AT = metrics.TOPICS_AT
#: Metrics that rows are compared on.
COMPARED = ("recall@10", "recall@50", "recall@100", "ndcg@10", f"topic_entropy@{TOPICS_AT}")
#: Users with fewer history items in clusters say nothing of a clustering.
CLUSTERED_MIN_ITEMS = 5

Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class Lists:
    """Result lists of one row, `examples` rows each.

    Attributes:
      rows: `[examples, n]` int catalogue rows, below 0 ignored.
      slot: the same shape, slot or part that brought the item, -1 pads.
      kind: the same shape, 0 implicit, 1 explicit, -1 pads.
      found_by: the same shape, int64, a bit per slot that found the item.
    """

    rows: np.ndarray
    slot: np.ndarray
    kind: np.ndarray
    found_by: np.ndarray


def list_values(
    lists: Lists, target: np.ndarray, topics: sparse.csr_matrix, wanted: sparse.csr_matrix
) -> Values:
    """Returns the per-example values of some result lists.

    Args:
      lists: of the row.
      target: `[examples]` int32 catalogue rows.
      topics: `[items, topics]` CSR of ones.
      wanted: `[examples, topics]` CSR of ones, topics that the results should carry.
    """
    ranks = metrics.target_ranks(lists.rows, target)
    values = metrics.per_example(ranks, KS)
    kept = {name: values[name] for name in (*(f"recall@{k}" for k in KS), "ndcg@10", "mrr")}
    entropy, distinct = topic_spread(lists.rows, topics)
    relevance, covered = topic_match(lists.rows, topics, wanted)
    hit = np.full(len(ranks), np.nan)
    found = ranks > 0
    hit[found] = lists.kind[found, ranks[found] - 1] == EXPLICIT
    return {
        **kept,
        f"topic_entropy@{TOPICS_AT}": entropy,
        "distinct_topics": distinct,
        "topic_relevance": relevance,
        "topics_covered": covered,
        "hits_explicit": hit,
    }


def topic_spread(rows: np.ndarray, topics: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Returns the entropy (nats) and the number of topics of each list's first results.

    Args:
      rows: `[examples, n]` int catalogue rows, below 0 ignored.
      topics: `[items, topics]` CSR of ones.

    Returns:
      `[examples]` float64 each; lists without topics have 0 of both.
    """
    weights = metrics.topic_weights(rows, topics, TOPICS_AT)
    owner = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    totals = np.asarray(weights.sum(axis=1)).ravel()
    share = weights.data / totals[owner]
    entropy = np.bincount(owner, -share * np.log(share), minlength=weights.shape[0])
    return entropy, np.diff(weights.indptr).astype(np.float64)


def topic_match(
    rows: np.ndarray, topics: sparse.csr_matrix, wanted: sparse.csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """Returns how well results match wanted topics.

    Args:
      rows: `[examples, n]` int catalogue rows, below 0 ignored.
      topics: `[items, topics]` CSR of ones.
      wanted: `[examples, topics]` CSR of ones.

    Returns:
      `[examples]` float64 each: share of the results that carry a wanted topic, and share
      of the wanted topics that some result carries; NaN where nothing is wanted. A list
      without results has 0 of both.
    """
    count = len(rows)
    example, place = np.nonzero(rows >= 0)
    picked = rows[example, place]
    asked = np.diff(wanted.indptr)
    match = np.zeros(len(picked))
    for start in range(0, len(picked), _PAIRS):
        part = slice(start, start + _PAIRS)
        shared = topics[picked[part]].multiply(wanted[example[part]])
        match[part] = np.asarray(shared.sum(axis=1)).ravel() > 0
    sizes = np.bincount(example, minlength=count)
    relevant = np.bincount(example, match, minlength=count) / np.maximum(sizes, 1)
    results = sparse.csr_matrix(
        (np.ones(len(picked), np.float32), (example, picked)), shape=(count, topics.shape[0])
    )
    carried = (results @ topics).multiply(wanted).tocsr()
    carried.eliminate_zeros()
    covered = np.diff(carried.indptr) / np.maximum(asked, 1)
    return np.where(asked > 0, relevant, np.nan), np.where(asked > 0, covered, np.nan)


_PAIRS = 500_000


def kind_shares(lists: Lists) -> dict[str, float]:
    """Returns the share of all results that each kind of slot brought."""
    total = max(1, int((lists.kind >= 0).sum()))
    return {
        "implicit_share": float((lists.kind == IMPLICIT).sum()) / total,
        "explicit_share": float((lists.kind == EXPLICIT).sum()) / total,
    }


def kind_overlap(lists: Lists, explicit_slots: Sequence[int]) -> Values:
    """Returns how many candidates implicit and explicit slots both found.

    Args:
      lists: of a row whose slots are numbered as in `found_by`.
      explicit_slots: numbers of the explicit slots.

    Returns:
      `overlap_implicit` (share of the candidates of implicit slots that an explicit slot
      found too) and `overlap_jaccard`, `[examples]` float64; NaN for lists that lack
      candidates of one kind.
    """
    bits = np.int64(sum(1 << int(slot) for slot in explicit_slots))
    there = lists.rows >= 0
    explicit = there & ((lists.found_by & bits) != 0)
    implicit = there & ((lists.found_by & ~bits) != 0)
    a, b = implicit.sum(axis=1), explicit.sum(axis=1)
    shared = (implicit & explicit).sum(axis=1)
    both = (a > 0) & (b > 0)
    return {
        "overlap_implicit": np.where(both, shared / np.maximum(a, 1), np.nan),
        "overlap_jaccard": np.where(both, shared / np.maximum(a + b - shared, 1), np.nan),
    }


def pairwise_cosine(vectors: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Returns the mean cosine of each user's pairs of valid vectors.

    Args:
      vectors: `[users, slots, dim]` float.
      valid: `[users, slots]` bool.

    Returns:
      `[users]` float64, NaN for users with fewer than two valid vectors.
    """
    wide = vectors.astype(np.float64)
    unit = wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-12)
    unit = np.where(valid[:, :, None], unit, 0.0)
    # |sum of units|^2 holds every ordered pair and each vector with itself.
    size = valid.sum(axis=1)
    own = np.sum(unit**2, axis=(1, 2))
    pairs = np.sum(unit.sum(axis=1) ** 2, axis=1) - own
    several = size >= 2
    return np.where(several, pairs / np.maximum(size * (size - 1), 1), np.nan)


def cluster_balance(history_slot: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Returns the entropy of each user's cluster sizes over the largest it could be.

    Args:
      history_slot: `[users, length]` int, slot of each history item, below 0 for none.
      valid: `[users, slots]` bool.

    Returns:
      `[users]` float64, NaN for users with fewer than two valid slots.
    """
    slots = valid.shape[1]
    user, place = np.nonzero((history_slot >= 0) & (history_slot < slots))
    flat = user * slots + history_slot[user, place]
    sizes = np.bincount(flat, minlength=len(valid) * slots).reshape(len(valid), slots)
    several = valid.sum(axis=1) >= 2
    entropy = entropy_of(sizes / np.maximum(sizes.sum(axis=1, keepdims=True), 1))
    return np.where(several, entropy / np.log(np.maximum(valid.sum(axis=1), 2)), np.nan)


def slot_use(best: np.ndarray, slots: int) -> dict[str, float]:
    """Returns how the users' best slots spread.

    Args:
      best: `[users]` int, slot that found the user's target first.
      slots: number of slots.

    Returns:
      `slot_use`: entropy of the best slots over its maximum; `dead_slots`: number of slots
      that are best for less than 1 % of users. Empty without users.
    """
    if not len(best):
        return {}
    use = np.bincount(best, minlength=slots) / len(best)
    even = float(entropy_of(use) / np.log(slots)) if slots > 1 else 1.0
    return {"slot_use": even, "dead_slots": float((use < DEAD_SHARE).sum())}


def cluster_agreement(
    history_slot: np.ndarray, history_topic: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Returns how well each user's clusters agree with the topics of their items.

    Args:
      history_slot: `[users, length]` int, slot of each history item, below 0 for none.
      history_topic: the same shape, topic of the item, below 0 for none.
      seed: of the shuffle.

    Returns:
      `cluster_nmi`: normalised mutual information of slot and topic, `[users]` float64, NaN
      for users with fewer than five items that have both; `cluster_nmi_random`: the same
      after the slots of each user were shuffled among their items.
    """
    known = (history_slot >= 0) & (history_topic >= 0)
    known &= (known.sum(axis=1) >= CLUSTERED_MIN_ITEMS)[:, None]
    user, place = np.nonzero(known)
    slot, topic = history_slot[user, place], history_topic[user, place]
    generator = np.random.default_rng(seed)
    shuffled = slot[np.lexsort((generator.random(len(slot)), user))]
    count = len(history_slot)
    return {
        "cluster_nmi": grouped_nmi(user, slot, topic, count),
        "cluster_nmi_random": grouped_nmi(user, shuffled, topic, count),
    }


def grouped_nmi(
    group: np.ndarray, first: np.ndarray, second: np.ndarray, groups: int
) -> np.ndarray:
    """Returns the normalised mutual information of two labellings within each group.

    The mutual information is divided by the mean of both entropies. Two labellings that
    both have one label agree fully.

    Args:
      group: `[pairs]` int, 0 to groups - 1.
      first: `[pairs]` int labels from 0.
      second: the same of the other labelling.
      groups: number of groups.

    Returns:
      `[groups]` float64, NaN for groups without pairs.
    """
    size = np.bincount(group, minlength=groups).astype(np.float64)

    def entropy(*labels: np.ndarray) -> np.ndarray:
        if not len(group):
            return np.zeros(groups)
        cells, count = np.unique(np.stack([group, *labels]), axis=1, return_counts=True)
        share = count / size[cells[0]]
        return np.bincount(cells[0], -share * np.log(share), minlength=groups)

    one, other, joint = entropy(first), entropy(second), entropy(first, second)
    mutual = np.maximum(one + other - joint, 0.0)
    mean = (one + other) / 2.0
    agreement = np.where(mean > 1e-12, mutual / np.maximum(mean, 1e-12), 1.0)
    return np.where(size > 0, agreement, np.nan)


def means(values: Mapping[str, np.ndarray], mask: np.ndarray | None = None) -> dict[str, float]:
    """Returns the mean of each value where it exists; a value that nobody has is left out.

    Args:
      values: name to `[examples]` float.
      mask: `[examples]` bool, examples that count; all when None.
    """
    figures = {}
    for name, column in values.items():
        chosen = column if mask is None else column[mask]
        known = chosen[np.isfinite(chosen)]
        if len(known):
            figures[name] = float(known.mean())
    return figures
