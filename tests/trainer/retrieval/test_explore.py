"""New items among the others: how many, which, where, and the same for the same request."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.retrieval.fake_model import FakeModel, request, save_fake_model
from tests.trainer.retrieval.plain import IDS, ITEM_TOPICS, ITEMS, TOPICS
from trainer.config import RetrievalConfig
from trainer.retrieval.explore import newest_rows
from trainer.retrieval.filters import Attributes
from trainer.retrieval.retriever import Retriever, save_retriever

CREATED = np.array([1000.0 + row if row % 11 else np.nan for row in range(ITEMS)])
NEWEST = newest_rows(CREATED, 0.5)
NEW_IDS = {IDS[row] for row in NEWEST}
CONFIG = RetrievalConfig(num_results=20, explore_share=0.2, filters=("created_at",))


@pytest.fixture(scope="module")
def signatures(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("model"))
    save_fake_model(FakeModel(IDS, TOPICS), path)
    model = tf.saved_model.load(path)
    no_topics = tf.zeros([ITEMS, 1], tf.string)
    made = model.embed_items(item_id=tf.constant(IDS), item_topics=no_topics)["embeddings"]
    attributes = Attributes({}, {"created_at": CREATED})
    plain = Retriever(model, IDS, ITEM_TOPICS, made.numpy(), CONFIG, attributes=attributes)
    exploring = Retriever(
        model, IDS, ITEM_TOPICS, made.numpy(), CONFIG, attributes=attributes, newest=NEWEST
    )
    path = str(tmp_path_factory.mktemp("saved"))
    save_retriever(exploring, path)
    loaded = tf.saved_model.load(path)
    return {"plain": plain.signatures(), "exploring": exploring.signatures(), "loaded": loaded}


def lists(answer, user=0):
    count = int(answer["count"][user])
    names = ("item_id", "score", "slot", "slot_kind", "slot_topic", "found_by")
    return {name: answer[name][user, :count].numpy() for name in names}


HISTORY = st.lists(st.sampled_from([i.decode() for i in IDS]), max_size=12)
FOLLOW = st.lists(st.sampled_from([t.decode() for t in TOPICS]), max_size=2, unique=True)


@given(HISTORY, FOLLOW, st.integers(1, 60))
def test_a_share_of_the_list_is_new_and_the_rest_is_as_it_was(signatures, history, follows, n):
    asked = {**request([history], [follows]), "num_results": tf.constant([n])}
    before = lists(signatures["plain"]["retrieve"](**asked))
    after = lists(signatures["exploring"]["retrieve"](**asked))
    explored = after["slot_kind"] == 2
    assert len(set(after["item_id"].tolist())) == len(after["item_id"]) <= n
    assert len(after["item_id"]) >= len(before["item_id"])
    assert explored.sum() <= int(0.2 * n + 0.5)
    brought = set(after["item_id"][explored].tolist())
    assert brought <= NEW_IDS - {item.encode() for item in history} - set(before["item_id"])
    rest = after["item_id"][~explored].tolist()
    assert rest == before["item_id"].tolist()[: len(rest)]
    slots = after["slot"][explored]
    assert (after["found_by"][explored] == 1 << slots).all()
    assert (after["slot_topic"][explored] == b"").all()
    new = len(NEW_IDS - {item.encode() for item in history} - set(before["item_id"]))
    if not new:
        assert not explored.any()


def test_new_items_stand_at_even_distances(signatures):
    asked = {**request([["i3", "i9"]], [[]]), "num_results": tf.constant([20])}
    kinds = lists(signatures["exploring"]["retrieve"](**asked))["slot_kind"]
    assert np.flatnonzero(kinds == 2).tolist() == [2, 7, 12, 17]


def test_equal_requests_get_equal_lists_and_other_users_other_items(signatures):
    retrieve = signatures["exploring"]["retrieve"]
    users = tf.constant([b"u%d" % n for n in range(30)])
    asked = request([["i3", "i9"]] * 30, [[]] * 30)
    first, second = (retrieve(**asked, user_id=users) for _ in range(2))
    np.testing.assert_array_equal(first["item_id"], second["item_id"])
    alone = request([["i3", "i9"]], [[]])
    one = retrieve(**alone, user_id=users[4:5])
    np.testing.assert_array_equal(one["item_id"][0], first["item_id"][4])
    explored = [
        tuple(lists(first, n)["item_id"][lists(first, n)["slot_kind"] == 2]) for n in range(30)
    ]
    assert len(set(explored)) > 5


def test_explored_items_satisfy_the_filters_and_a_saved_model_answers_alike(signatures):
    conditions = tf.constant([[b"created_at>=1040"]])
    asked = {**request([["i3"], []], [[], ["t1"]]), "num_results": tf.constant([12, 12])}
    answer = signatures["exploring"]["retrieve_filtered"](**asked, filter=conditions)
    fits = {IDS[row] for row in range(ITEMS) if CREATED[row] >= 1040}
    for user in range(2):
        assert set(lists(answer, user)["item_id"].tolist()) <= fits
    loaded = signatures["loaded"].retrieve(
        **{**request([["i3"]], [[]]), "user_id": tf.constant([b"x"])},
        num_results=tf.constant([12]),
        use_implicit=tf.constant([True]),
        use_explicit=tf.constant([True]),
    )
    here = signatures["exploring"]["retrieve"](
        **request([["i3"]], [[]]), user_id=tf.constant([b"x"]), num_results=tf.constant([12])
    )
    np.testing.assert_array_equal(loaded["item_id"], here["item_id"])
    assert (loaded["slot_kind"].numpy() == 2).any()


def test_an_empty_batch_and_no_exploration(signatures):
    nobody = {name: value[:0] for name, value in request([["i3"]], [[]]).items()}
    assert signatures["exploring"]["retrieve"](**nobody)["item_id"].shape == (0, 0)
    assert RetrievalConfig().explore_share == 0.0 and RetrievalConfig().attribute_columns() == ()
    assert RetrievalConfig(explore_share=0.1).attribute_columns() == ("created_at",)


@given(st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=30), st.floats(0.01, 1.0))
def test_the_newest_are_those_that_a_sort_finds(created, share):
    values = np.array([np.nan if value is None else value for value in created], np.float64)
    known = [row for row, value in enumerate(created) if value is not None]
    wanted = sorted(known, key=lambda row: (-created[row], row))
    assert newest_rows(values, share).tolist() == wanted[: max(1, int(share * len(created)))]
