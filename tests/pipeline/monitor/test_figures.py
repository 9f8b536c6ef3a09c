"""Each figure of the monitor on logs made by hand."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from components.user_ids import IdKey
from pipeline.monitor import drift, figures, later
from serving.request_log.record import KINDS, SCHEMA

ITEMS = pa.array([f"i{n}" for n in range(10)])
TOPICS = pa.array(["t0", "t1"])


def log(*rows):
    """Makes a log of rows that say only what matters."""
    default = {
        "version": 1,
        "timestamp": 100,
        **{name: [] for name in SCHEMA.names if pa.types.is_list(SCHEMA.field(name).type)},
    }
    return pa.Table.from_pylist([default | row for row in rows], SCHEMA).combine_chunks()


def test_unknown_shares_and_their_rise():
    rows = log(
        {"history_item_id": ["i0", "gone"], "followed_topic": ["t0"]},
        {"history_item_id": ["i1", "i2"], "followed_topic": []},
    )
    found = figures.unknown(rows, ITEMS, TOPICS)
    assert found == {"items": 0.25, "topics": 0.0}
    assert figures.rises(found, {"items": 0.1, "topics": 0.5}) == {"items": 0.15, "topics": 0.0}
    assert figures.rises(found, {"items": None})["items"] is None
    assert figures.unknown(log({}), ITEMS, TOPICS) == {"items": None, "topics": None}


def test_slots_that_answered():
    rows = log(
        {"item_id": ["i0", "i1"], "kind": ["implicit", "explicit"], "followed_topic": ["t0"]},
        {"item_id": ["i0"], "kind": ["implicit"], "followed_topic": ["t1"]},
        {"item_id": ["i0"], "kind": ["explored"]},
        {},
    )
    assert figures.answers(rows) == {
        "empty": 0.25,
        "implicit": 0.5,
        "explicit": 0.25,
        "explored": 0.25,
        "neighbour": 0.0,
        "follows_answered": 0.5,
    }
    empty = figures.answers(log({}))
    assert empty["empty"] == 1.0 and empty["implicit"] is None


def test_what_was_shown_and_how_popular_it_is():
    rows = log(
        {"item_id": ["i0", "i1"], "history_item_id": ["i1", "i1", "i2"]},
        {"item_id": ["i0", "elsewhere"]},
    )
    assert figures.shown(rows, ITEMS) == {
        "coverage": 0.2,
        "top_share": pytest.approx(2 / 3),  # i0, two of three known impressions
        "head_share": pytest.approx(1 / 3),  # i1, the most frequent in histories
        "unknown": 0.25,
    }
    assert figures.shown(log({"item_id": ["i0"]}), ITEMS)["head_share"] is None


requests = st.lists(
    st.fixed_dictionaries(
        {
            "history_item_id": st.lists(st.sampled_from([*ITEMS.to_pylist(), "gone"]), max_size=5),
            "followed_topic": st.lists(st.sampled_from(["t0", "t1", "t2"]), max_size=3),
            "shown": st.lists(
                st.tuples(st.sampled_from(ITEMS.to_pylist()), st.sampled_from(KINDS)), max_size=5
            ),
        }
    ),
    min_size=1,
    max_size=8,
)


@given(requests, st.randoms())
def test_figures_are_shares_and_do_not_depend_on_the_order_of_requests(rows, random):
    made = [
        {k: v for k, v in row.items() if k != "shown"}
        | {"item_id": [i for i, _ in row["shown"]], "kind": [k for _, k in row["shown"]]}
        for row in rows
    ]

    def measured(order):
        table = log(*order)
        return {
            **figures.unknown(table, ITEMS, TOPICS),
            **figures.answers(table),
            **{f"shown {k}": v for k, v in figures.shown(table, ITEMS).items()},
        }

    found = measured(made)
    assert all(value is None or 0 <= value <= 1 for value in found.values())
    if any(row["item_id"] for row in made):
        assert sum(found[kind] for kind in KINDS) == pytest.approx(1)
        assert found["shown top_share"] >= (found["shown head_share"] or 0)
        assert found["shown coverage"] >= 1 / len(ITEMS)
    random.shuffle(made)
    assert measured(made) == found


def users(seed, items, count=400, topic="t0", age=3600):
    rng = np.random.default_rng(seed)
    return log(
        *(
            {
                "timestamp": 10**9,
                "history_item_id": rng.choice(items, 3).tolist(),
                "history_timestamp": [10**9 - age * int(rng.integers(1, 9))] * 3,
                "history_action": ["like"] * 3,
                "followed_topic": [topic],
            }
            for _ in range(count)
        )
    )


def test_drift_is_small_between_equals_and_large_after_a_change():
    items = ITEMS.to_pylist()
    before = users(1, items)
    same = drift.drift(before, users(2, items))
    assert tuple(same) == drift.FEATURES
    assert same["history_item_id"] < 0.05 and same["newest_age"] < 0.05
    assert same["followed_topic"] == same["history_action"] == 0
    other = drift.drift(before, users(2, items[:2], topic="t1", age=360_000))
    assert other["history_item_id"] > 0.3 and other["followed_topic"] == 1
    assert other["newest_age"] > 0.5 and other["history_length"] == 0


def test_drift_needs_values_on_both_sides():
    assert set(drift.drift(log({}), log()).values()) == {None}
    found = drift.drift(log({}, {"followed_topic": ["t0"]}), log({"followed_topic": ["t0"]}))
    assert found["history_item_id"] is None and found["followed_topic"] == 0
    positions = drift.drift(users(1, ["i0"]), users(2, ["i0"]), in_seconds=False)
    assert positions["newest_age"] is None and positions["history_item_id"] == 0


def engaged(*rows):
    kinds = {"user_id": pa.string(), "item_id": pa.string(), "timestamp": pa.int64()}
    return pa.table([list(c) for c in zip(*rows, strict=True)] or [[]] * 3, pa.schema(kinds))


def test_a_later_engagement_belongs_to_the_latest_answer_before_it():
    rows = log(
        {"user": "u", "timestamp": 100, "item_id": ["i0", "i1"]},
        {"user": "u", "timestamp": 200, "item_id": ["i2"]},
        {"user": None, "timestamp": 100, "item_id": ["i3"]},
    )
    done = engaged(
        ("u", "i0", 100),  # shown just then
        ("u", "i0", 150),  # once more: counts once
        ("u", "i1", 250),  # shown before, not by the latest answer
        ("u", "i2", 260),
        ("u", "i2", 99),  # before every answer
        ("u", "i2", 301),  # too late
        ("v", "i0", 150),  # of nobody in the log
    )
    assert later.recall(rows, done, 100) == {"counted": 3.0, "recall": pytest.approx(2 / 3)}
    assert later.recall(rows, engaged(), 100) == {"counted": 0.0, "recall": None}
    nobody = log({"timestamp": 100, "item_id": ["i0"]})
    assert later.recall(nobody, done, 100) == {"counted": 0.0, "recall": None}


def test_engagements_are_named_as_in_the_log(tmp_path):
    path = tmp_path / "engagements.csv"
    path.write_text("user_id,item_id,timestamp,action\nu,i0,1700000000,like\n")
    key = IdKey(b"0123456789abcdef")
    [plain] = later.read_engagements(path, True, None).to_pylist()
    [hashed] = later.read_engagements(path, True, key).to_pylist()
    assert plain == {"user_id": "u", "item_id": "i0", "timestamp": 1_700_000_000}
    assert hashed == plain | {"user_id": key.hashed("u")}
