"""From a retriever's answer to items with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.bundle.verify import Bundle
from serving.recommend.question import Question
from serving.recommend.served import Answer

EXPLICIT = 1
#: History items named in a reason, newest first.
REASON_ITEMS = 3
#: History items of an interest that the JSON output names.
_INTEREST_ITEMS = 10


def explain(
    bundle: Bundle,
    question: Question,
    answer: Answer,
    topics: Mapping[str, Sequence[str]],
    titles: Mapping[str, str],
    n: int,
) -> dict[str, Any]:
    """Returns what `--json` prints; see docs/bundle.md for its keys.

    Args:
      bundle: the bundle that was asked.
      question: what it was asked.
      answer: what it returned.
      topics: item id -> topics, the catalogue.
      titles: item id -> title, where there is one.
      n: most items.
    """
    count = min(n, len(answer.item_id))
    members = _members(question, answer)
    items = [_item(place, answer, members, topics, titles) for place in range(count)]
    return {
        "bundle": {
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "path": str(bundle.path),
        },
        "user": question.user,
        "now": question.now,
        "time_unit": bundle.manifest.time_unit,
        "history": [
            {
                "item_id": event.item_id,
                "title": titles.get(event.item_id),
                "timestamp": event.timestamp,
                "action": event.action,
            }
            for event in question.history
        ],
        "follows": list(question.follows),
        "interests": _interests(answer, members, titles, items),
        "items": items,
        "notes": [*question.notes, *_notes(question, answer, topics, n)],
    }


def _members(question: Question, answer: Answer) -> dict[int, list[str]]:
    """Returns the distinct history items that feed each slot, newest first."""
    members: dict[int, list[str]] = {}
    for event, slot in zip(question.history, answer.history_slot, strict=False):
        if slot >= 0 and event.item_id not in members.setdefault(slot, []):
            members[slot].append(event.item_id)
    return members


def _item(
    place: int,
    answer: Answer,
    members: Mapping[int, Sequence[str]],
    topics: Mapping[str, Sequence[str]],
    titles: Mapping[str, str],
) -> dict[str, Any]:
    item, slot = answer.item_id[place], answer.slot[place]
    topic = answer.slot_topic[place]
    return {
        "rank": place + 1,
        "item_id": item,
        "title": titles.get(item),
        "topics": list(topics.get(item, [])),
        "score": round(answer.score[place], 6),
        "slot": slot,
        "kind": _kind(answer.slot_kind[place]),
        "topic": topic or None,
        "reason": _reason(answer, place, members.get(slot, []), titles),
    }


def _reason(answer: Answer, place: int, members: Sequence[str], titles: Mapping[str, str]) -> str:
    if answer.slot_kind[place] == EXPLICIT:
        return f"follows {answer.slot_topic[place]}"
    if members:
        return "because of " + ", ".join(titles.get(m) or m for m in members[:REASON_ITEMS])
    if any(slot >= 0 for slot in answer.history_slot):
        return "because of the history as a whole"
    return "for users without history"


def _interests(
    answer: Answer,
    members: Mapping[int, Sequence[str]],
    titles: Mapping[str, str],
    items: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Returns one entry per slot that brought an item, in order of first appearance."""
    interests = []
    total = sum(m for m, valid in zip(answer.slot_mass, answer.slot_valid, strict=True) if valid)
    for slot in dict.fromkeys(item["slot"] for item in items):
        brought = [item for item in items if item["slot"] == slot]
        first = brought[0]
        interests.append(
            {
                "slot": slot,
                "kind": first["kind"],
                "topic": first["topic"],
                "share": round(answer.slot_mass[slot] / total, 6) if total > 0 else 0.0,
                "history": [
                    {"item_id": member, "title": titles.get(member)}
                    for member in members.get(slot, [])[:_INTEREST_ITEMS]
                ],
                "items": len(brought),
                "reason": first["reason"],
            }
        )
    return interests


def _notes(
    question: Question, answer: Answer, topics: Mapping[str, Sequence[str]], n: int
) -> list[str]:
    notes = []
    unknown = list(dict.fromkeys(e.item_id for e in question.history if e.item_id not in topics))
    if unknown:
        notes.append(f"not in the catalogue: {_some(unknown)}; they count as unknown items")
    carried = {topic for carried in topics.values() for topic in carried}
    strange = [topic for topic in question.follows if topic not in carried]
    if strange:
        notes.append(f"no item carries the followed topic: {_some(strange)}")
    if n > len(answer.item_id):
        notes.append(f"the bundle returns {len(answer.item_id)} items here, not {n}")
    return notes


def _some(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + rest


def _kind(kind: int) -> str:
    return "explicit" if kind == EXPLICIT else "implicit"
