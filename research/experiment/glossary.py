"""Names, digits and meanings of the figures that a report shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """How one figure is shown.

    Attributes:
      label: heading of its column.
      note: what it is, one sentence.
      digits: after the point.
      best: `max` or `min` when one direction is better, '' when neither is.
    """

    label: str
    note: str
    digits: int = 4
    best: str = ""


def _recall(k: int) -> Figure:
    note = f"share of held-out engagements found among the first {k} results"
    return Figure(f"recall@{k}", note, best="max")


FIGURES: dict[str, Figure] = {
    "recall@10": _recall(10),
    "recall@50": _recall(50),
    "recall@100": _recall(100),
    "ndcg@10": Figure("ndcg@10", "like recall@10, but worth more near the top", best="max"),
    "mrr": Figure("mrr", "mean of 1 / place of the held-out item", best="max"),
    "topic_entropy@50": Figure(
        "entropy@50", "how evenly the first 50 results spread over topics, in nats", 3, "max"
    ),
    "distinct_topics": Figure("topics@50", "different topics among the first 50 results", 2, "max"),
    "coverage@100": Figure(
        "coverage@100", "share of the catalogue among somebody's first 100 results", 3, "max"
    ),
    "topic_relevance": Figure(
        "relevance",
        "share of results that carry a followed topic (users with follows); for questions by "
        "source topic, the topic asked for",
        3,
    ),
    "topics_covered": Figure("covered", "share of followed topics with at least one result", 3),
    "user_cosine": Figure(
        "user cosine",
        "mean pairwise cosine of a user's implicit embeddings, first 2,000 questions; 1 means that "
        "they collapsed",
        3,
    ),
    "centroid_cosine": Figure(
        "centroid cosine", "the same of the conditions that the embeddings are made from", 3
    ),
    "slots_valid": Figure("slots", "implicit slots in use per user", 2),
    "slots_total": Figure("K", "implicit slots of the model", 0),
    "slot_use": Figure(
        "slot use",
        "entropy of which slot suits the target best, over its maximum, first 2,000 questions",
        3,
    ),
    "dead_slots": Figure("dead slots", "slots that suit the target best for under 1 % of users", 1),
    "cluster_balance": Figure(
        "balance", "entropy of a user's cluster sizes over its maximum; 1 means equal sizes", 3
    ),
    "cluster_nmi": Figure(
        "NMI",
        "normalised mutual information of history clusters and the items' primary topics, "
        "users with 5 such items or more",
        3,
    ),
    "cluster_nmi_random": Figure(
        "NMI, shuffled", "the same after each user's slots were shuffled: what chance gives", 3
    ),
    "implicit_share": Figure("implicit", "share of results that implicit slots brought", 3),
    "explicit_share": Figure("explicit", "share of results that explicit slots brought", 3),
    "hits_explicit": Figure("hits explicit", "share of the hits that explicit slots brought", 3),
    "hits_second": Figure("hits, 2nd part", "share of a union's hits not from its first part", 3),
    "overlap_implicit": Figure(
        "overlap",
        "share of the results found by implicit slots that explicit slots found too; of a union: "
        "share of the first part's list that is in the second's",
        3,
    ),
    "overlap_jaccard": Figure("Jaccard", "size of the same overlap over that of both together", 3),
    "examples_per_s": Figure("examples/s", "training examples per second", 0, "max"),
    "train_s": Figure("training s", "seconds of training", 1),
    "eval_s": Figure("asking s", "seconds to ask all eval examples", 1),
    "steps": Figure("steps", "training steps", 0),
    "epochs": Figure("epochs", "epochs trained", 1),
    "best_epoch": Figure("best epoch", "epoch whose weights were kept", 1),
    "parameters": Figure("parameters", "trainable parameters", 0),
    "peak_mb": Figure("peak MB", "largest memory of the training process", 0),
    "user_tower_p50_ms": Figure("user p50", "median ms to embed one user, batch 1", 2),
    "user_tower_p99_ms": Figure("user p99", "99th percentile of the same", 2),
    "retrieve_p50_ms": Figure("serve p50", "median ms of embedding, search and merge, batch 1", 2),
    "retrieve_p99_ms": Figure("serve p99", "99th percentile of the same", 2),
    "step_ms": Figure("step ms", "median ms of one training step", 1),
    "embed_user_p50_ms": Figure("user p50", "median ms to embed one user, batch 1", 2),
    "embed_user_p99_ms": Figure("user p99", "99th percentile of the same", 2),
}

ACCURACY = ("recall@10", "recall@50", "recall@100", "ndcg@10")
DIVERSITY = (
    "topic_entropy@50",
    "distinct_topics",
    "coverage@100",
    "topic_relevance",
    "topics_covered",
)
INTERESTS = (
    "slots_valid",
    "slots_total",
    "user_cosine",
    "centroid_cosine",
    "slot_use",
    "dead_slots",
    "cluster_balance",
    "cluster_nmi",
    "cluster_nmi_random",
)
KINDS = (
    "implicit_share",
    "explicit_share",
    "hits_explicit",
    "hits_second",
    "overlap_implicit",
    "overlap_jaccard",
)
COST = (
    "examples_per_s",
    "train_s",
    "epochs",
    "best_epoch",
    "parameters",
    "peak_mb",
    "user_tower_p50_ms",
    "user_tower_p99_ms",
    "retrieve_p50_ms",
    "retrieve_p99_ms",
)

SLICES = {
    "activity": (
        "Activity",
        "New users have no history; non-core users less than the median of the others.",
    ),
    "history_tercile": ("Thirds by history length", "Equal lengths stay together."),
    "history_length": ("History length", "By the number of items in the user's history."),
    "follows": ("Followers", "Users who follow a topic that some item carries, and the others."),
    "interest": (
        "Interest",
        "By the place of the target's primary topic in the user's history: 1 head, 2 and 3 "
        "torso, later or absent tail.",
    ),
    "followed_target": (
        "Followed targets",
        "Source: the target carries a topic that the user follows.",
    ),
    "target": ("Target", "New items never occur in the training split."),
}


def figure(name: str) -> Figure:
    """Returns how a figure is shown; unknown ones under their own name."""
    return FIGURES.get(name, Figure(name.replace("_", " "), ""))
