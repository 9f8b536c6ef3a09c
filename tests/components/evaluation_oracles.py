"""Metrics and floors in plain Python, written from the documentation alone."""

from __future__ import annotations

import math
from collections import Counter, defaultdict


def metrics(lists: list[list], targets: list, topics: dict, items: int, ks: list[int]) -> dict:
    """Lists hold item keys without pads; `topics` maps an item to its topics."""
    n = len(lists)
    result = {}
    for k in ks:
        hits = [t in found[:k] for found, t in zip(lists, targets, strict=True)]
        result[f"recall@{k}"] = sum(hits) / n
        gains = [
            1 / math.log2(found.index(t) + 2) if hit else 0.0
            for found, t, hit in zip(lists, targets, hits, strict=True)
        ]
        result[f"ndcg@{k}"] = sum(gains) / n
        result[f"coverage@{k}"] = len({i for found in lists for i in found[:k]}) / items
    deepest = max(ks)
    result["mrr"] = (
        sum(
            1 / (found.index(t) + 1) if t in found[:deepest] else 0.0
            for found, t in zip(lists, targets, strict=True)
        )
        / n
    )
    entropies, distinct = [], []
    for found in lists:
        weight: dict = defaultdict(float)
        for item in found[:50]:
            for topic in topics.get(item, []):
                weight[topic] += 1 / len(topics[item])
        total = sum(weight.values())
        entropies.append(-sum(w / total * math.log(w / total) for w in weight.values()))
        distinct.append(len(weight))
    result["topic_entropy@50"] = sum(entropies) / n
    result["distinct_topics"] = sum(distinct) / n
    return result


def floor_scores(
    train: list[tuple[str, str, list]], items: list, topics: dict
) -> tuple[dict, Counter]:
    """`train` holds (user, target, history newest first); returns a scorer per floor."""
    popularity = Counter(target for _, target, _ in train)
    owned: dict = defaultdict(set)
    after: Counter = Counter()
    for user, target, history in train:
        owned[user].add(target)
        if history:
            owned[user].add(history[0])
            after[history[0], target] += history[0] in items
    owned = {user: own & set(items) for user, own in owned.items()}
    holders = defaultdict(set)
    for user, own in owned.items():
        for item in own:
            holders[item].add(user)

    def cosine(a, b) -> float:
        if a == b or not holders[a] or not holders[b]:
            return 0.0
        return len(holders[a] & holders[b]) / math.sqrt(len(holders[a]) * len(holders[b]))

    scorers = {
        "popularity": lambda item, history, follows: 0.0,
        "item_cosine": lambda item, history, follows: sum(cosine(h, item) for h in set(history)),
        "last_transition": lambda item, history, follows: after[history[0], item] if history else 0,
        "topic_popularity": lambda item, history, follows: float(
            bool(set(topics[item]) & set(follows))
        ),
    }
    return scorers, popularity


def floor_list(scorer, popularity, items: list, history: list, follows: list, depth: int) -> list:
    """Best score, then most popular, then catalogue order; seen items left out."""
    order = {item: place for place, item in enumerate(items)}
    unseen = [item for item in items if item not in history]
    keys = {
        item: (-round(scorer(item, history, follows), 5), -popularity[item], order[item])
        for item in unseen
    }
    return sorted(unseen, key=keys.__getitem__)[:depth]
