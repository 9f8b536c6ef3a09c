"""A retriever's answer as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.page.query import Query
from serving.page.shelf import Volume
from serving.recommend.explain import explain, shown_items
from serving.recommend.question import Question
from serving.recommend.served import Retrieved, answer_of


def page_answer(
    volume: Volume, query: Query, question: Question, outputs: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Returns the JSON of `POST /api/recommend`; see docs/serve.md for its keys.

    Args:
      volume: of the version that answered.
      query: what the page asked.
      question: what the retriever was asked.
      outputs: of `retrieve`, batch size 1.
    """
    answer = answer_of(outputs)
    facts = volume.catalogue.facts(shown_items(question, answer), question.follows)
    told = explain(question, answer, facts, query.num_results)
    for event, slot in zip(told["history"], answer.history_slot, strict=False):
        event["slot"] = slot if slot >= 0 else None
        event["topics"] = list(facts.topics.get(event["item_id"], []))
        event["known"] = event["item_id"] in facts.topics
    for item, slots in zip(told["items"], answer.found_by, strict=False):
        item["found_by"] = slots
    told["interests"] += _without_items(told, answer)
    manifest = volume.manifest
    return {
        "bundle": {"name": manifest.name, "version": manifest.version},
        "user": question.user,
        "now": question.now,
        "time_unit": manifest.time_unit,
        **told,
    }


def similar_answer(volume: Volume, item: str, outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the JSON of `POST /api/similar`; see docs/page.md for its keys.

    Args:
      volume: of the version that answered.
      item: whose neighbours they are.
      outputs: of `similar_items`, batch size 1.
    """
    count = int(outputs["count"][0])
    found = [value.decode("utf-8", "replace") for value in outputs["item_id"][0, :count]]
    facts = volume.catalogue.facts([item, *found])
    scores = outputs["score"][0, :count].astype(float).tolist()
    return {
        "item_id": item,
        "title": facts.titles.get(item),
        "known": bool(outputs["known"][0]),
        "items": [
            {
                "rank": rank,
                "item_id": each,
                "title": facts.titles.get(each),
                "topics": list(facts.topics.get(each, [])),
                "score": round(score, 6),
            }
            for rank, (each, score) in enumerate(zip(found, scores, strict=True), 1)
        ],
    }


def _without_items(told: Mapping[str, Any], answer: Retrieved) -> list[dict[str, Any]]:
    """Returns the interests that history items feed but that brought nothing of their own."""
    brought = {interest["slot"] for interest in told["interests"]}
    fed = dict.fromkeys(e["slot"] for e in told["history"] if e.get("slot") is not None)
    total = sum(m for m, v in zip(answer.slot_mass, answer.slot_valid, strict=True) if v)
    return [
        {
            "slot": slot,
            "kind": "implicit",
            "topic": None,
            "share": round(answer.slot_mass[slot] / total, 6) if total > 0 else 0.0,
            "history": [
                {"item_id": event["item_id"], "title": event["title"]}
                for event in told["history"]
                if event.get("slot") == slot
            ],
            "items": 0,
            "reason": "brought nothing of its own"
            if answer.slot_valid[slot]
            else "was not asked in this request",
        }
        for slot in fed
        if slot not in brought
    ]
