"""Faults 13 to 16 and 18, through every step: ExampleGen, Transform, model and served retriever."""

from __future__ import annotations

import numpy as np
import pytest

from tests.components.raw_examples import example as raw_example
from tests.faults.world import (
    HISTORY,
    INTERESTS,
    ITEMS,
    LATE,
    LONGEST,
    NO_ITEMS,
    ODD,
    PLAIN,
    RESULTS,
    TOPICS,
    USERS,
    request,
)
from trainer import features
from trainer.retrieval.signature import OPTION_DEFAULTS, bind

IDS = list(ITEMS)
REGULAR = [f"i{n}" for n in range(20)]


def embed(world, **user):
    return {k: v.numpy() for k, v in world.embedding.embed_user(**request(**user)).items()}


def check_answer(answer, history):
    """What holds for whoever asks: a full list of other, distinct, known items with a reason."""
    known = [name.encode() for name in IDS if name not in history]
    count = answer["count"][0]
    assert count == min(RESULTS, len(known))
    found = answer["item_id"][0][:count].tolist()
    assert len(set(found)) == count and set(found) <= set(known)
    assert np.isfinite(answer["score"][0][:count]).all()
    assert answer["slot_valid"][0].any()
    assert answer["slot_valid"][0][answer["slot"][0][:count]].all()


@pytest.mark.fault(13)
def test_examples_have_histories_of_every_length_up_to_the_maximum(world):
    lengths = {len(row[features.HISTORY_ITEM_ID]) for rows in world.raw.values() for row in rows}
    assert lengths == set(range(HISTORY + 1))


@pytest.mark.fault(13)
@pytest.mark.parametrize("length", [0, 1, INTERESTS - 1, INTERESTS, HISTORY, HISTORY + 1, 20])
def test_a_history_of_any_length_is_answered(world, length):
    history = REGULAR[:length]
    answer = world.retrieve(histories=[history])
    check_answer(answer, history)
    slots = answer["slot_valid"][0][:INTERESTS].sum()
    assert 1 <= slots <= max(1, min(length, INTERESTS))
    fed = answer["history_slot"][0] >= 0
    assert fed[:HISTORY].all() and not fed[HISTORY:].any()


@pytest.mark.fault(13)
def test_what_is_older_than_the_maximum_changes_nothing(world):
    whole, cut = (embed(world, histories=[REGULAR[:n]]) for n in (20, HISTORY))
    np.testing.assert_array_equal(whole["embeddings"], cut["embeddings"])
    np.testing.assert_array_equal(whole["slot_valid"], cut["slot_valid"])


@pytest.mark.fault(13)
def test_users_of_all_lengths_in_one_batch_are_answered_as_alone(world):
    histories = [REGULAR[:n] for n in (0, 1, 2, 6, 20)]
    together = world.retrieve(histories=histories)
    for row, history in enumerate(histories):
        alone = world.retrieve(histories=[history])
        assert together["item_id"][row].tolist() == alone["item_id"][0].tolist()


@pytest.mark.fault(13)
def test_ten_thousand_events_in_a_request_are_answered(world):
    history = [f"i{n % 20}" for n in range(10_000)]
    answer = world.retrieve(histories=[history])
    check_answer(answer, history)
    assert answer["history_slot"].shape == (1, 10_000)


@pytest.mark.fault(14)
@pytest.mark.parametrize("count", [1, HISTORY, 50])
def test_a_history_of_unknown_items_is_a_cold_user(world, count):
    unknown = [f"never seen {n}" for n in range(count)]
    strange, cold = (embed(world, histories=[h]) for h in (unknown, []))
    valid = cold["slot_valid"]
    np.testing.assert_array_equal(strange["slot_valid"], valid)
    np.testing.assert_array_equal(strange["embeddings"][valid], cold["embeddings"][valid])
    assert (strange["history_slot"] == -1).all()
    check_answer(world.retrieve(histories=[unknown]), unknown)


@pytest.mark.fault(14)
def test_unknown_items_beside_known_ones_leave_those_their_slots(world):
    answer = world.retrieve(histories=[["never seen", "i3", "", "i4"]])
    slots = answer["history_slot"][0]
    assert slots[0] == slots[2] == -1 and (slots[[1, 3]] >= 0).all()


@pytest.mark.fault(14)
def test_an_unknown_item_with_unknown_topics_has_a_vector(world):
    import tensorflow as tf

    vectors = world.embedding.embed_items(
        item_id=tf.constant(["never seen"] * 3),
        item_topics=tf.constant([["t0"], ["never seen"], [""]]),
    )["embeddings"].numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("follows", "named"),
    [
        ([], set()),
        (["never seen"], set()),
        (["never seen", "t1"], {b"t1"}),
        ([f"never seen {n}" for n in range(10_000)], set()),
        ([*TOPICS[:3], *(f"never seen {n}" for n in range(9_997))], None),
    ],
)
def test_no_unknown_and_ten_thousand_follows_are_answered(world, follows, named):
    answer = world.retrieve(histories=[["i3"]], follows=[follows])
    check_answer(answer, ["i3"])
    count = answer["count"][0]
    topics = set(answer["slot_topic"][0][:count].tolist()) - {b""}
    assert topics <= {name.encode() for name in follows}
    assert named is None or topics == named
    again = world.retrieve(histories=[["i3"]], follows=[follows])
    assert answer["item_id"].tolist() == again["item_id"].tolist()


@pytest.mark.fault(14)
def test_known_topics_count_wherever_they_stand_among_the_follows_that_are_kept(world):
    follows = ["never seen 1", "never seen 2", "never seen 3", "t1"]
    answer = world.retrieve(histories=[[]], follows=[follows])
    assert b"t1" in answer["slot_topic"][0]


@pytest.mark.fault(15)
def test_an_item_without_topics_is_found_through_interests_only(world):
    history = [name for name in IDS if name != PLAIN]
    answer = world.retrieve(histories=[history], follows=[["t0", "t1"]])
    assert answer["count"].tolist() == [1]
    assert answer["item_id"][0][0].decode() == PLAIN
    assert answer["slot_kind"][0][0] == 0


@pytest.mark.fault(15)
def test_a_topic_without_items_leaves_its_share_to_others(world):
    answer = world.retrieve(histories=[["i3"]], follows=[[NO_ITEMS]])
    check_answer(answer, ["i3"])
    assert NO_ITEMS.encode() not in answer["slot_topic"][0].tolist()
    both = world.retrieve(histories=[["i3"]], follows=[[NO_ITEMS, "t1"]])
    explicit = both["slot_kind"][0] == 1
    assert explicit.any()
    assert {topic.decode() for topic in both["slot_topic"][0][explicit]} == {"t1"}
    assert all("t1" in ITEMS[i.decode()] for i in both["item_id"][0][explicit])


@pytest.mark.fault(16)
def test_ids_over_the_limit_and_empty_ones_are_dead_letters(world):
    assert world.report["dead_letter_reasons"] == {
        "item_id is longer than 8192 bytes": 1,
        "user_id is empty": 1,
        "user_id is longer than 8192 bytes": 1,
    }


@pytest.mark.fault(16)
def test_odd_ids_are_whole_in_the_examples(world):
    corpus = {row["item_id"][0]: row["item_topics"] for row in world.raw["corpus"]}
    assert corpus == ITEMS
    targets = [row for split in ("train", "validation", "eval") for row in world.raw[split]]
    assert {row["user_id"][0] for row in targets} == set(USERS)
    assert {row["item_id"][0] for row in targets} == set(IDS) - {LATE}


@pytest.mark.fault(16)
def test_odd_ids_have_their_own_vocabulary_entry_but_for_line_breaks(world):
    tokens = world.transformed.output().vocabulary_by_name("item")
    broken = {"new\nline", "carriage\rreturn"}
    assert {token.decode() for token in tokens} == set(IDS) - broken
    assert len(tokens) == len(set(tokens))


@pytest.mark.fault(16)
def test_odd_ids_come_back_from_the_served_retriever_byte_for_byte(world):
    """Whoever has seen everything else gets exactly the odd ids."""
    answer = world.retrieve(histories=[[name for name in IDS if name not in [*ODD, LONGEST]]])
    found = [item.decode() for item in answer["item_id"][0][: answer["count"][0]]]
    assert sorted(found) == sorted([*ODD, LONGEST])


@pytest.mark.fault(16)
@pytest.mark.parametrize("name", [*ODD, LONGEST])
def test_an_odd_id_is_known_in_a_history(world, name):
    answer = world.retrieve(histories=[[name]])
    check_answer(answer, [name])
    line_break = "\n" in name or "\r" in name
    assert (answer["history_slot"][0][0] == -1) == line_break


@pytest.mark.fault(16)
def test_seven_and_double_o_seven_are_two_items(world):
    first, second = (embed(world, histories=[[name]])["embeddings"] for name in ("007", "7"))
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.fault(18)
def test_no_example_shows_its_target_or_anything_later(world):
    rows = [row for split in ("train", "validation", "eval") for row in world.raw[split]]
    for row in rows:
        (now,) = row[features.TIMESTAMP]
        assert all(stamp < now for stamp in row[features.HISTORY_TIMESTAMP])
        assert row[features.ITEM_ID][0] not in row[features.HISTORY_ITEM_ID]
    assert set(rows[0]) == set(raw_example("u", "i")) | set(features.RAW_FEATURES)


@pytest.mark.fault(21)
@pytest.mark.parametrize("name", features.USER_FEATURES)
def test_a_request_without_a_feature_of_training_is_refused(world, name):
    """The signature holds the user features that training sees, and options beside them."""
    given = world.retriever.signatures["retrieve"].structured_input_signature[1]
    assert set(given) == {*features.USER_FEATURES, *OPTION_DEFAULTS}
    retrieve = bind(world.retriever, "retrieve")
    asked = request(histories=[["i3"]], follows=[["t0"]])
    del asked[name]
    with pytest.raises(TypeError, match=name):
        retrieve(**asked)
