"""What a request may say beside the user: through the exported SavedModel."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.retrieval import oracles
from tests.trainer.retrieval.fake_model import FakeModel, request
from trainer.config import RetrievalConfig
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.signature import bind

ITEMS = 60
IDS = [f"i{i}".encode() for i in range(ITEMS)]
TOPICS = [f"t{i}".encode() for i in range(5)]
ITEM_TOPICS = [[TOPICS[i % 5], TOPICS[i % 3]] if i % 7 else [] for i in range(ITEMS)]
ASKED = request([["i3", "i9", "i3"], [], ["i7"], ["i1", "i2"]], [["t1"], ["t0", "t4"], [], ["t2"]])


def retriever(**config) -> Retriever:
    model = FakeModel(IDS, TOPICS)
    vectors = model.item_vectors.numpy()[:ITEMS]
    return Retriever(model, IDS, ITEM_TOPICS, vectors, RetrievalConfig(**config))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("saved"))
    save_retriever(retriever(num_results=10, max_results=25), folder)
    return tf.saved_model.load(folder)


@pytest.fixture(scope="module")
def served(loaded):
    return bind(loaded, "retrieve")


def rows(asked, user):
    return {name: value[user : user + 1] for name, value in asked.items()}


def items(answer, user=0):
    return answer["item_id"][user, : int(answer["count"][user])].numpy().tolist()


def test_every_row_may_want_another_number_and_gets_what_it_gets_alone(served):
    wanted = [3, 0, 25, 1]
    together = served(**ASKED, num_results=tf.constant(wanted))
    assert together["count"].numpy().tolist() == [3, 10, 25, 1]
    assert together["item_id"].shape == (4, 25)
    for user, number in enumerate(wanted):
        alone = served(**rows(ASKED, user), num_results=tf.constant([number]))
        assert items(together, user) == items(alone)
        assert (together["item_id"][user, int(together["count"][user]) :].numpy() == b"").all()
        for name in ("slot", "found_by", "score"):
            size = len(items(alone))
            np.testing.assert_allclose(
                together[name][user, :size], alone[name][0, :size], rtol=1e-6
            )


def test_no_row_gets_more_than_the_most(served):
    answer = served(**ASKED, num_results=tf.constant([10_000]))
    assert answer["count"].numpy().tolist() == [25] * 4
    assert served(**ASKED, num_results=tf.constant([-3]))["count"].numpy().tolist() == [10] * 4


def test_one_value_stands_for_the_batch(served):
    one = served(**ASKED, num_results=tf.constant([5]), use_explicit=tf.constant([False]))
    each = served(**ASKED, num_results=tf.fill([4], 5), use_explicit=tf.fill([4], False))
    assert one["item_id"].numpy().tolist() == each["item_id"].numpy().tolist()


@pytest.mark.parametrize("values", [2, 3])
def test_options_for_another_number_of_rows_are_refused(served, values):
    with pytest.raises(tf.errors.InvalidArgumentError):
        served(**ASKED, num_results=tf.fill([values], 5))


def test_sources_are_switched_off_row_by_row(served):
    implicit, explicit = [True, True, False, False], [False, True, True, False]
    answer = served(**ASKED, use_implicit=tf.constant(implicit), use_explicit=tf.constant(explicit))
    kinds = [set(answer["slot_kind"][u].numpy().tolist()) - {-1} for u in range(4)]
    assert kinds == [{0}, {0, 1}, set(), set()]
    assert answer["count"].numpy().tolist() == [10, 10, 0, 0]
    assert not answer["slot_valid"][3].numpy().any()


def test_the_user_id_comes_back_and_changes_nothing(served):
    names = [b"u1", b"", "ü😀".encode(), b"u1"]
    named, nameless = served(**ASKED, user_id=tf.constant(names)), served(**ASKED)
    assert named["user_id"].numpy().tolist() == names
    assert nameless["user_id"].numpy().tolist() == [b""] * 4
    assert named["item_id"].numpy().tolist() == nameless["item_id"].numpy().tolist()


@pytest.mark.parametrize("name", ["history_timestamp", "history_action"])
def test_histories_of_different_shapes_are_refused_by_name(served, name):
    asked = {**ASKED, name: ASKED[name][:, :-1]}
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} and history_item_id must"):
        served(**asked)


def test_inputs_of_different_numbers_of_rows_are_refused(served):
    asked = {**ASKED, "followed_topic": ASKED["followed_topic"][:2]}
    with pytest.raises(tf.errors.InvalidArgumentError, match="same number of rows"):
        served(**asked)


def serialised(user: int, **options) -> bytes:
    """The user as a `tf.Example` whose lists are as long as they are."""
    ids = [i for i in ASKED["history_item_id"][user].numpy() if i]
    lists = {
        "timestamp": [1000],
        "history_item_id": ids,
        "history_timestamp": [0] * len(ids),
        "history_action": [b"read"] * (len(ids) - 1),  # one is missing: padded
        "followed_topic": [t for t in ASKED["followed_topic"][user].numpy() if t],
        **options,
    }
    parts = {}
    for name, values in lists.items():
        if values and isinstance(values[0], bytes):
            parts[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        else:
            parts[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    for name in [name for name, values in lists.items() if not values]:
        parts.pop(name)
    return tf.train.Example(features=tf.train.Features(feature=parts)).SerializeToString()


def test_examples_with_ragged_histories_are_answered_like_tensors(loaded, served):
    examples = tf.constant([serialised(user) for user in range(4)])
    got, want = bind(loaded, "retrieve_examples")(examples=examples), served(**ASKED)
    assert set(got) == set(want)
    for name, value in want.items():
        np.testing.assert_array_equal(got[name].numpy(), value.numpy(), err_msg=name)


def test_examples_may_carry_options(loaded, served):
    options = {"num_results": [4], "use_explicit": [0], "user_id": [b"u7"]}
    got = bind(loaded, "retrieve_examples")(examples=tf.constant([serialised(0, **options)]))
    want = served(**rows(ASKED, 0), num_results=tf.constant([4]), use_explicit=tf.constant([False]))
    assert items(got) == items(want)
    assert got["user_id"].numpy().tolist() == [b"u7"]


@pytest.mark.parametrize("budget", ["mass", "equal"])
def test_implicit_budgets_follow_the_configuration(budget):
    asked = request([["i3", "i3", "i3", "i3", "i9"]], [[]])
    kept = retriever(num_results=10, implicit_budget=budget)
    answer = kept.retrieve(**asked)
    given = oracles.largest_remainder([4.0, 1.0] if budget == "mass" else [1.0, 1.0], 10)
    counts = np.bincount(answer["slot"][0].numpy(), minlength=2)[:2]
    # A duplicate may have used up a turn, which another slot then fills.
    assert np.abs(counts - given).max() <= 1
    assert given == ([8, 2] if budget == "mass" else [5, 5])
