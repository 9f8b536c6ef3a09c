"""What the figures mean, in one sentence each."""

from __future__ import annotations

_NAMES = {
    "previous": "previous version",
    "popularity": "popularity",
    "item_cosine": "item-item cosine",
    "last_transition": "last-item transitions",
    "topic_popularity": "topic popularity",
    "history_length": "history length",
    "num_follows": "followed topics",
    "follows": "followed topics",
    "new_user": "new users",
}

_FLOORS = {
    "previous": "the version that was published before, on the same eval examples",
    "popularity": "the same most popular items for everyone",
    "item_cosine": "items that were engaged with together with the user's history",
    "last_transition": "what others engaged with right after the user's newest item",
    "topic_popularity": "the most popular items of the topics that the user follows",
    "rp3beta": "random walks from the user's history over other users, damped by popularity",
    "ease": "EASE, a linear item-to-item model in closed form",
    "als": "implicit ALS, matrix factorisation by alternating least squares",
    "oracle": "limit, no floor: the true interests of the user and popularity of the items",
    "feasible": "limit, no floor: true interests of the items, the rest counted",
}

_METRICS = {
    "recall": "share of held-out engagements found among the first {k} items",
    "ndcg": "like recall@{k}, but worth more near the top",
    "mrr": "mean of 1 / place of the held-out item",
    "coverage": "share of the catalogue that some user is shown{within}",
    "topic_entropy": "how evenly the first {k} items spread over topics, in nats",
    "distinct_topics": "different topics among a user's first 50 items",
}

_SLICES = {
    "activity": "New users have no history; non-core users less than the median of the others.",
    "history_length": "By the number of items in the user's history.",
    "follows": "By the number of topics that the user follows.",
    "target": "New items never occur in what the model was trained on.",
    "target_events": "By the number of users there who engaged with the target.",
    "target_topics": "Unseen: no item there carries a topic of the target.",
    "followed_topics": "Without items: every topic that the user follows is carried by no item.",
}

_COMPONENTS = {
    "RetrievalExampleGen": "tables to examples",
    "StatisticsGen": "statistics",
    "CuratedSchema": "schema",
    "ExampleValidator": "anomalies",
    "DataGate": "stop or go on",
    "Transform": "features and vocabularies",
    "BaselineResolver": "version to compare with",
    "Trainer": "training and export",
    "IndexBuilder": "item embeddings and index",
    "RetrievalEvaluator": "metrics, floors, blessing",
    "ServingValidator": "answers of a fresh process, skew, latency",
    "Pusher": "versioned bundle",
    "BundleSource": "published model and requests",
    "CatalogueGen": "item table to examples",
}


def readable(name: str) -> str:
    """Returns a name for people."""
    return _NAMES.get(name, name.replace("_", " "))


def floor_note(name: str) -> str:
    """Says what a floor recommends; '' for unknown ones."""
    return _FLOORS.get(name, "")


def metric_note(name: str) -> str:
    """Says what a metric measures; '' for unknown ones."""
    base, _, k = name.partition("@")
    return _METRICS.get(base, "").format(k=k, within=f" in the first {k} items" if k else "")


def slice_note(name: str) -> str:
    """Says how a slice divides the examples; '' for unknown ones."""
    return _SLICES.get(name, "")


def component_note(name: str) -> str:
    """Says what a component does; '' for unknown ones."""
    return _COMPONENTS.get(name, "")
