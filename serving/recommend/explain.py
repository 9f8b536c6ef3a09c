"""From a retriever's answer to items with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.recommend.catalogue import Facts
from serving.recommend.question import Question
from serving.recommend.served import Retrieved

EXPLICIT, EXPLORED, NEIGHBOUR = 1, 2, 3
_KINDS = {EXPLICIT: "explicit", EXPLORED: "explored", NEIGHBOUR: "neighbour"}
#: Kinds of items that say nothing of the slot they are nearest to.
_STRAY = ("explored", "neighbour")
#: History items named in a reason, newest first.
REASON_ITEMS = 3
#: History items of an interest that the JSON output names.
_INTEREST_ITEMS = 10


def explain(question: Question, answer: Retrieved, facts: Facts, n: int) -> dict[str, Any]:
    """Returns history, interests, items and notes; see docs/bundle.md for the keys.

    Args:
      question: what was asked.
      answer: what came back.
      facts: about the items of both, and the topics of the question.
      n: most items.
    """
    count = min(n, len(answer.item_id))
    members = _members(question, answer)
    items = [_item(place, answer, members, facts) for place in range(count)]
    return {
        "history": [
            {
                "item_id": event.item_id,
                "title": facts.titles.get(event.item_id),
                "timestamp": event.timestamp,
                "action": event.action,
            }
            for event in question.history
        ],
        "follows": list(question.follows),
        "interests": _interests(answer, members, facts, items),
        "items": items,
        "notes": [*question.notes, *_notes(question, answer, facts, n)],
    }


def shown_items(question: Question, answer: Retrieved) -> set[str]:
    """Returns the items that an explanation names."""
    return {*answer.item_id, *(event.item_id for event in question.history)}


def _members(question: Question, answer: Retrieved) -> dict[int, list[str]]:
    """Returns the distinct history items that feed each slot, newest first."""
    members: dict[int, list[str]] = {}
    for event, slot in zip(question.history, answer.history_slot, strict=False):
        if slot >= 0 and event.item_id not in members.setdefault(slot, []):
            members[slot].append(event.item_id)
    return members


def _item(
    place: int,
    answer: Retrieved,
    members: Mapping[int, Sequence[str]],
    facts: Facts,
) -> dict[str, Any]:
    item, slot = answer.item_id[place], answer.slot[place]
    topic = answer.slot_topic[place]
    return {
        "rank": place + 1,
        "item_id": item,
        "title": facts.titles.get(item),
        "topics": list(facts.topics.get(item, [])),
        "score": round(answer.score[place], 6),
        "slot": slot,
        "kind": _kind(answer.slot_kind[place]),
        "topic": topic if topic and answer.slot_kind[place] == EXPLICIT else None,
        "reason": _reason(answer, place, members.get(slot, []), facts.titles),
    }


def _reason(
    answer: Retrieved, place: int, members: Sequence[str], titles: Mapping[str, str]
) -> str:
    if answer.slot_kind[place] == EXPLICIT:
        return f"follows {answer.slot_topic[place]}"
    if answer.slot_kind[place] == EXPLORED:
        return "a new item, shown to explore"
    if answer.slot_kind[place] == NEIGHBOUR:
        source = answer.slot_topic[place]
        return f"often together with {titles.get(source) or source}"
    if members:
        return "because of " + ", ".join(titles.get(m) or m for m in members[:REASON_ITEMS])
    if any(slot >= 0 for slot in answer.history_slot):
        return "because of the history as a whole"
    return "for users without history"


def _interests(
    answer: Retrieved,
    members: Mapping[int, Sequence[str]],
    facts: Facts,
    items: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Returns one entry per slot that brought an item, in order of first appearance."""
    interests = []
    total = sum(m for m, valid in zip(answer.slot_mass, answer.slot_valid, strict=True) if valid)
    for slot in dict.fromkeys(item["slot"] for item in items):
        brought = [item for item in items if item["slot"] == slot]
        # What an interest is says an item that it found, not one that is only near to it.
        first = next((item for item in brought if item["kind"] not in _STRAY), brought[0])
        interests.append(
            {
                "slot": slot,
                "kind": first["kind"],
                "topic": first["topic"],
                "share": round(answer.slot_mass[slot] / total, 6) if total > 0 else 0.0,
                "history": [
                    {"item_id": member, "title": facts.titles.get(member)}
                    for member in members.get(slot, [])[:_INTEREST_ITEMS]
                ],
                "items": len(brought),
                "reason": first["reason"],
            }
        )
    return interests


def _notes(question: Question, answer: Retrieved, facts: Facts, n: int) -> list[str]:
    notes = []
    unknown = list(
        dict.fromkeys(e.item_id for e in question.history if e.item_id not in facts.topics)
    )
    if unknown:
        notes.append(f"not in the catalogue: {_some(unknown)}; they count as unknown items")
    strange = [topic for topic in question.follows if topic not in facts.carried]
    if strange:
        notes.append(f"no item carries the followed topic: {_some(strange)}")
    if n > len(answer.item_id):
        notes.append(f"the bundle returns {len(answer.item_id)} items here, not {n}")
    return notes


def _some(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + rest


def _kind(kind: int) -> str:
    return _KINDS.get(kind, "implicit")
