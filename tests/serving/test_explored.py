"""An item that was brought to explore says so, in answers, tables and candidates."""

from __future__ import annotations

import numpy as np

from components.candidates import answer as candidates
from serving.client import UserRequest
from serving.recommend.catalogue import Facts
from serving.recommend.explain import explain
from serving.recommend.question import typed_history
from serving.recommend.served import answer_of
from tessera import answers

REASON = "a new item, shown to explore"
OUTPUTS = {
    "item_id": np.array([[b"i1", b"new", b"i2", b"fresh"]], object),
    "score": np.array([[0.9, 0.1, 0.8, 0.2]], np.float32),
    "slot": np.array([[0, 0, 1, 2]], np.int32),
    "slot_kind": np.array([[0, 2, 1, 2]], np.int32),
    "slot_topic": np.array([[b"", b"", b"art", b""]], object),
    "found_by": np.array([[1, 1, 2, 4]], np.int64),
    "count": np.array([4], np.int32),
    "history_slot": np.array([[0]], np.int32),
    "slot_mass": np.array([[1.0, 0.0, 0.0]], np.float32),
    "slot_valid": np.array([[True, True, True]]),
}


def test_the_reason_names_it_and_an_interest_is_told_by_what_it_found():
    question = typed_history(["i0"], ["art"], "seconds", 1000, "click")
    facts = Facts(topics={}, titles={}, carried=frozenset(["art"]))
    told = explain(question, answer_of(OUTPUTS), facts, 10)
    assert [item["kind"] for item in told["items"]] == [
        "implicit", "explored", "explicit", "explored",
    ]  # fmt: skip
    assert [item["reason"] for item in told["items"]] == [
        "because of i0", REASON, "follows art", REASON,
    ]  # fmt: skip
    found = {interest["slot"]: interest["reason"] for interest in told["interests"]}
    assert found == {0: "because of i0", 1: "follows art", 2: REASON}


def test_tables_and_candidates_tell_it_apart():
    rows = answers.recommended([UserRequest(1000, ["i0"])], OUTPUTS)
    assert rows["kind"].tolist() == ["implicit", "explored", "explicit", "explored"]
    history = np.array([[b"i0"]], object)
    table = candidates.rows([b"u"], history, OUTPUTS).to_pydict()
    assert table["kind"] == ["implicit", "explored", "explicit", "explored"]
    assert table["reason"] == ["because of i0", REASON, "follows art", REASON]


def test_a_neighbour_names_the_item_that_brought_it():
    outputs = {
        **OUTPUTS,
        "slot_kind": np.array([[0, 3, 1, 3]], np.int32),
        "slot_topic": np.array([[b"", b"i0", b"art", b"i7"]], object),
        "found_by": np.array([[1, 0, 2, 0]], np.int64),
        "user_id": np.array([b"u"], object),
    }
    wanted = ["because of i0", "often together with i0", "follows art", "often together with i7"]
    question = typed_history(["i0"], ["art"], "seconds", 1000, "click")
    facts = Facts(topics={}, titles={}, carried=frozenset(["art"]))
    told = explain(question, answer_of(outputs), facts, 10)
    assert [item["reason"] for item in told["items"]] == wanted
    assert [item["topic"] for item in told["items"]] == [None, None, "art", None]
    table = candidates.rows([b"u"], np.array([[b"i0"]], object), outputs).to_pydict()
    assert (table["reason"], table["kind"][1]) == (wanted, "neighbour")
    rows = answers.recommended([UserRequest(1000, ["i0"])], outputs)
    assert rows["because"].tolist() == [["i0"], ["i0"], [], ["i7"]]
    assert (rows["kind"].tolist()[3], rows["topic"].tolist()) == ("neighbour", ["", "", "art", ""])
