"""A naive, per-row statement of what the join must produce. Imports nothing of the project."""

from __future__ import annotations

import fnmatch
from typing import Any, NamedTuple

DAY = 86_400


class Event(NamedTuple):
    user: str
    item: str
    time: int
    action: str
    source: str | None = None
    source_topic: str | None = None


class Follow(NamedTuple):
    user: str
    topic: str
    time: int | None = None
    until: int | None = None


class Rules(NamedTuple):
    """The part of the configuration that the oracle follows."""

    history_max: int = 5
    history_min: int = 0
    follows_max: int = 3
    positive: tuple[str, ...] = ("*",)
    negative: tuple[str, ...] = ()
    repeats: str = "drop"
    strategy: str = "leave_last_two_out"
    eval_days: float = 1.0
    validation_days: float = 1.0
    max_events: int = 10_000
    window_end: int = 0


def _none_last(value: str | None) -> tuple[bool, bytes]:
    return (value is None, (value or "").encode())


def user_events(events: list[Event], rules: Rules) -> dict[str, list[Event]]:
    """Distinct events per user, newest first."""
    chosen: dict[tuple[str, str, int, str], Event] = {}
    for event in events:
        key = event[:4]
        rank = (_none_last(event.source), _none_last(event.source_topic))
        if key not in chosen or rank < (
            _none_last(chosen[key].source),
            _none_last(chosen[key].source_topic),
        ):
            chosen[key] = event
    users: dict[str, list[Event]] = {}
    for event in chosen.values():
        users.setdefault(event.user, []).append(event)
    for mine in users.values():
        mine.sort(key=lambda e: (-e.time, e.item.encode(), e.action.encode()))
        del mine[rules.max_events :]
    return users


def follows_at(follows: list[Follow], user: str, time: int, limit: int) -> list[str]:
    """Topics in force strictly before `time`, newest first, undated last, then by name."""
    ends: dict[tuple[str, int | None], int | None] = {}
    for follow in follows:
        if follow.user != user:
            continue
        key = (follow.topic, follow.time)
        known = [u for u in (ends.get(key), follow.until) if u is not None]
        ends[key] = min(known) if known else None
    best: dict[str, int | None] = {}
    for (topic, start), until in ends.items():
        if start is not None and start >= time:
            continue
        if until is not None and until <= time:
            continue
        if topic not in best or (
            start is not None and (best[topic] is None or start > best[topic])
        ):
            best[topic] = start
    order = sorted(best, key=lambda t: (best[t] is None, -(best[t] or 0), t.encode()))
    return order[:limit]


def examples(
    events: list[Event], follows: list[Follow], items: dict[str, list[str]], rules: Rules
) -> dict[str, list[dict[str, Any]]]:
    """Examples by split, each as a dict of lists of text or int."""
    splits: dict[str, list[dict[str, Any]]] = {"train": [], "validation": [], "eval": []}
    for user, mine in user_events(events, rules).items():
        targets: list[tuple[Event, list[Event]]] = []
        taken: set[tuple[str, int]] = set()
        for event in mine:
            past = [e for e in mine if e.time < event.time]
            past = past[: rules.history_max]
            seen = any(e.item == event.item and e.time < event.time for e in mine)
            if not any(fnmatch.fnmatchcase(event.action, p) for p in rules.positive):
                continue
            if any(fnmatch.fnmatchcase(event.action, p) for p in rules.negative):
                continue
            if event.item not in items or len(past) < rules.history_min:
                continue
            if rules.strategy == "time" and event.time >= rules.window_end:
                continue
            if rules.repeats == "drop":
                if seen or (event.item, event.time) in taken:
                    continue
                taken.add((event.item, event.time))
            targets.append((event, past))
        for rank, (event, past) in enumerate(targets):
            topics = follows_at(follows, user, event.time, rules.follows_max)
            derived = [t for t in topics if t in items[event.item]][:1]
            logged = event.source_topic is not None
            splits[_split(event, rank, len(targets), rules)].append(
                {
                    "user_id": [user],
                    "timestamp": [event.time],
                    "history_item_id": [e.item for e in past],
                    "history_timestamp": [e.time for e in past],
                    "history_action": [e.action for e in past],
                    "followed_topic": topics,
                    "item_id": [event.item],
                    "item_topics": items[event.item],
                    "action": [event.action],
                    "source": [] if event.source is None else [event.source],
                    "source_topic": [event.source_topic] if logged else derived,
                    "source_topic_derived": [0] if logged else [1] * len(derived),
                }
            )
    return splits


def _split(event: Event, rank: int, count: int, rules: Rules) -> str:
    if rules.strategy == "time":
        if event.time >= rules.window_end - rules.eval_days * DAY:
            return "eval"
        if event.time >= rules.window_end - (rules.eval_days + rules.validation_days) * DAY:
            return "validation"
        return "train"
    if count < 3:
        return "train"
    return {0: "eval", 1: "validation"}.get(rank, "train")
