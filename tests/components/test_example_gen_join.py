"""The vectorised join against the naive statement of the contract."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config import ExampleGenConfig, SplitConfig
from components.example_gen.columns import EVENT_SCHEMA, FOLLOW_SCHEMA, TOPIC_SCHEMA
from components.example_gen.examples import build
from input_tables.config import DataConfig
from tests.components.example_gen_oracle import DAY, Event, Follow, Rules, examples

ODD_IDS = ["007", "7", "a,b", 'quo"te', "new\nline", "😀", " ", "x" * 300]
NAMES = st.sampled_from(ODD_IDS)
TIMES = st.integers(0, 12) | st.sampled_from([-(2**63), 2**62])


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else value.encode()


def _text(value: bytes | int) -> str | int:
    return value.decode() if isinstance(value, bytes) else value


def event_table(events: list[Event]) -> pa.Table:
    rows = [
        {
            "user_id": _bytes(e.user),
            "item_id": _bytes(e.item),
            "timestamp": e.time,
            "action": _bytes(e.action),
            "source": _bytes(e.source),
            "source_topic": _bytes(e.source_topic),
        }
        for e in events
    ]
    return pa.Table.from_pylist(rows, schema=EVENT_SCHEMA)


def topic_table(items: dict[str, list[str]]) -> pa.Table:
    rows = [{"item_id": k.encode(), "topics": [t.encode() for t in v]} for k, v in items.items()]
    return pa.Table.from_pylist(rows, schema=TOPIC_SCHEMA)


def follow_table(follows: list[Follow]) -> pa.Table:
    rows = [
        {
            "user_id": _bytes(f.user),
            "topic": _bytes(f.topic),
            "timestamp": f.time,
            "unfollowed_at": f.until,
        }
        for f in follows
    ]
    return pa.Table.from_pylist(rows, schema=FOLLOW_SCHEMA)


def config_of(rules: Rules, bucket_rows: int = 200_000) -> ExampleGenConfig:
    return ExampleGenConfig(
        data=DataConfig(root="unused"),
        split=SplitConfig(
            strategy=rules.strategy,
            eval_days=rules.eval_days,
            validation_days=rules.validation_days,
        ),
        history_max_items=rules.history_max,
        history_min_items=rules.history_min,
        follows_max_topics=rules.follows_max,
        positive_actions=rules.positive,
        negative_actions=rules.negative,
        repeat_targets=rules.repeats,
        max_events_per_user=rules.max_events,
        bucket_rows=bucket_rows,
    )


def built(
    events: list[Event],
    follows: list[Follow],
    items: dict[str, list[str]],
    rules: Rules,
    portion: int = 10**9,
    bucket_rows: int = 200_000,
) -> tuple[dict[str, list[dict[str, Any]]], Counter[str]]:
    """Runs the code under test on portions of the rows; text instead of bytes."""
    counts: Counter[str] = Counter()
    table = event_table(events)
    portions = [table.slice(i, portion) for i in range(0, table.num_rows, portion)]
    splits: dict[str, list[dict[str, Any]]] = {"train": [], "validation": [], "eval": []}
    batches = build(
        iter(portions),
        [topic_table(items), topic_table(items).slice(1)],
        [follow_table(follows)],
        config_of(rules, bucket_rows),
        rules.window_end,
        counts,
    )
    for split, batch in batches:
        batch.validate(full=True)
        for row in batch.to_pylist():
            splits[split].append(
                {
                    k: [v.decode() if isinstance(v, bytes) else v for v in vs]
                    for k, vs in row.items()
                }
            )
    return splits, counts


def as_set(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(repr(sorted(row.items())) for row in rows)


def check(
    events: list[Event],
    follows: list[Follow],
    items: dict[str, list[str]],
    rules: Rules,
    **how: int,
) -> Counter[str]:
    found, counts = built(events, follows, items, rules, **how)
    wanted = examples(events, follows, items, rules)
    for split, rows in wanted.items():
        assert as_set(found[split]) == as_set(rows), split
        assert counts[f"examples:{split}"] == len(rows)
    return counts


EVENTS = st.lists(
    st.builds(
        Event,
        user=st.sampled_from(ODD_IDS[:3]),
        item=NAMES,
        time=TIMES,
        action=st.sampled_from(["click", "like", "hide", "hide_all"]),
        source=st.sampled_from([None, "cr", "dcm"]),
        source_topic=st.sampled_from([None, None, "t0", "t1"]),
    ),
    max_size=40,
)
FOLLOWS = st.lists(
    st.builds(
        Follow,
        user=st.sampled_from(ODD_IDS[:4]),
        topic=st.sampled_from(["t0", "t1", "t2", "ü,|", "z\n"]),
        time=st.none() | TIMES,
        until=st.none() | st.none() | TIMES,
    ),
    max_size=20,
)
ITEMS = st.dictionaries(
    NAMES, st.lists(st.sampled_from(["t0", "t1", "t2", "ü,|"]), max_size=3, unique=True)
)
RULES = st.builds(
    Rules,
    history_max=st.integers(1, 6),
    history_min=st.integers(0, 2),
    follows_max=st.integers(1, 4),
    positive=st.sampled_from([("*",), ("like", "c*")]),
    negative=st.sampled_from([(), ("hide*",), ("hide",)]),
    repeats=st.sampled_from(["drop", "keep"]),
    strategy=st.sampled_from(["time", "leave_last_two_out"]),
    eval_days=st.sampled_from([2 / DAY, 4 / DAY]),
    validation_days=st.sampled_from([1 / DAY, 3 / DAY]),
    max_events=st.sampled_from([3, 10_000]),
    window_end=st.integers(5, 14),
)


@pytest.mark.fault(18)
@given(EVENTS, FOLLOWS, ITEMS, RULES, st.integers(1, 50), st.sampled_from([2, 200_000]))
def test_equals_the_naive_join(
    events: list[Event],
    follows: list[Follow],
    items: dict[str, list[str]],
    rules: Rules,
    portion: int,
    bucket_rows: int,
) -> None:
    check(events, follows, items, rules, portion=portion, bucket_rows=bucket_rows)


@pytest.mark.fault(18)
@given(EVENTS, FOLLOWS, ITEMS, RULES)
def test_nothing_at_or_after_the_target_is_visible(
    events: list[Event], follows: list[Follow], items: dict[str, list[str]], rules: Rules
) -> None:
    splits, _ = built(events, follows, items, rules)
    for row in (row for rows in splits.values() for row in rows):
        now = row["timestamp"][0]
        assert all(time < now for time in row["history_timestamp"])
        for topic in row["followed_topic"]:
            assert any(
                f.user == row["user_id"][0]
                and f.topic == topic
                and (f.time is None or f.time < now)
                and (f.until is None or f.until > now)
                for f in follows
            )


@pytest.mark.fault(11)
@given(EVENTS, FOLLOWS, ITEMS, RULES, st.randoms(use_true_random=False))
def test_row_order_changes_nothing(
    events: list[Event],
    follows: list[Follow],
    items: dict[str, list[str]],
    rules: Rules,
    chance: random.Random,
) -> None:
    first, _ = built(events, follows, items, rules)
    events, follows = list(events), list(follows)
    chance.shuffle(events)
    chance.shuffle(follows)
    second, _ = built(events, follows, items, rules, portion=7)
    assert first == second


@pytest.mark.fault(12)
def test_duplicate_events_count_once() -> None:
    event = Event("u", "i", 5, "like")
    counts = check([event] * 4, [], {"i": []}, Rules())
    assert counts["duplicate_event"] == 3


@pytest.mark.fault(11)
def test_equal_timestamps_never_see_each_other() -> None:
    events = [Event("u", f"i{k}", 5, "like") for k in range(4)]
    splits, _ = built(events, [], {e.item: [] for e in events}, Rules())
    rows = [row for split in splits.values() for row in split]
    assert len(rows) == 4
    assert all(row["history_item_id"] == [] for row in rows)


def test_an_item_outside_the_catalogue_is_history_but_no_target() -> None:
    events = [Event("u", "gone", 1, "like"), Event("u", "here", 2, "like")]
    counts = check(events, [], {"here": ["t"]}, Rules())
    assert counts["dropped:target_not_in_catalogue"] == 1
    splits, _ = built(events, [], {"here": ["t"]}, Rules())
    assert splits["train"][0]["history_item_id"] == ["gone"]


@pytest.mark.fault(19)
def test_a_user_with_most_of_the_log_is_capped_while_reading() -> None:
    events = [Event("hot", f"i{k % 50}", k, "like") for k in range(3_000)]
    events += [Event(f"u{k}", "i1", k, "like") for k in range(50)]
    items = {f"i{k}": [] for k in range(50)}
    rules = Rules(max_events=100, repeats="keep", history_max=10)
    counts = check(events, [], items, rules, portion=100, bucket_rows=150)
    assert counts["over_user_cap"] == 2_900


@pytest.mark.fault(14)
def test_ten_thousand_follows_are_capped_newest_first() -> None:
    follows = [Follow("u", f"t{k:05d}", k) for k in range(10_000)]
    follows += [Follow("u", f"gone{k}", 5_000, 6_000) for k in range(500)]
    events = [Event("u", "i", 7_000, "like"), Event("u", "j", 0, "like")]
    check(events, follows, {"i": ["t06990"], "j": []}, Rules(follows_max=20))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_leave_last_two_out_needs_three_targets(count: int) -> None:
    events = [Event("u", f"i{k}", k, "like") for k in range(count)]
    splits, _ = built(events, [], {e.item: [] for e in events}, Rules())
    sizes = [len(splits[name]) for name in ("train", "validation", "eval")]
    assert sizes == ([count, 0, 0] if count < 3 else [count - 2, 1, 1])


def test_no_rows_give_no_examples() -> None:
    splits, counts = built([], [Follow("u", "t")], {}, Rules())
    assert splits == {"train": [], "validation": [], "eval": []}
    assert counts["users"] == 0
