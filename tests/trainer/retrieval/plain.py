"""A small catalogue and a plain Python retrieval of it."""

from __future__ import annotations

from tests.trainer.retrieval import oracles
from trainer.config import RetrievalConfig

ITEMS = 60
IDS = [f"i{i}".encode() for i in range(ITEMS)]
TOPICS = [f"t{i}".encode() for i in range(5)]
ITEM_TOPICS = [[TOPICS[i % 5], TOPICS[i % 3]] if i % 7 else [] for i in range(ITEMS)]


def plain_retrieval(model, vectors, asked, config: RetrievalConfig, allowed=None):
    """Returns each user's (row, score, slot) list, of the rows allowed to that user (None: all)."""
    slots = {name: value.numpy() for name, value in model.embed_user(**asked).items()}
    answers = []
    for user, history in enumerate(asked["history_item_id"].numpy()):
        seen = set(history) if config.exclude_seen else set()
        rows = range(ITEMS) if allowed is None else sorted(allowed[user])
        unseen = [row for row in rows if IDS[row] not in seen]
        lists = []
        for slot, valid in enumerate(slots["slot_valid"][user]):
            rows = unseen if valid else []
            if slots["slot_kind"][user, slot] == 1 and config.topic_filter:
                rows = [r for r in rows if slots["slot_topic"][user, slot] in ITEM_TOPICS[r]]
            lists.append(oracles.search(slots["embeddings"][user, slot], vectors, rows))
        if config.merge == "score":
            answers.append(oracles.best_score(lists, config.num_results))
            continue
        budgets = oracles.slot_budgets(
            slots["mass"][user].tolist(),
            slots["slot_valid"][user].tolist(),
            slots["slot_kind"][user].tolist(),
            config.num_results,
            config.explicit_share,
        )
        if config.merge == "balanced":
            found = oracles.balanced(lists, budgets, config.balance, config.num_results)
        else:
            found = oracles.round_robin(lists, budgets, config.num_results)
        answers.append(found)
    return answers


def assert_same_but_for_ties(items, slots, scores, want):
    """Equal scores may come in either order: how they are rounded depends on the processor."""
    wanted = {IDS[row]: (score, slot) for row, score, slot in want}
    assert len(set(items.tolist())) == len(items)
    last = min((score for score, _ in wanted.values()), default=0.0)
    for item, slot, score in zip(items.tolist(), slots.tolist(), scores.tolist(), strict=True):
        if item not in wanted:  # it ties with the last one that was wanted
            assert abs(score - last) <= 1e-5
            continue
        assert (slot, abs(score - wanted[item][0]) <= 1e-5) == (wanted[item][1], True)
