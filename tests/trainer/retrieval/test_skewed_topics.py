"""Explicit slots where few topics have most items, through the exported SavedModel."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.retrieval.fake_model import FakeModel, request
from trainer.config import RetrievalConfig
from trainer.retrieval import topic_filter
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.signature import bind

ITEMS, HEAD_MAX, RESULTS = 400, 60, 30
IDS = [f"i{i}".encode() for i in range(ITEMS)]
#: A head topic beyond the most items a topic is searched in, a middle, tails of 1 to 5 items.
SIZES = {b"head": 250, b"middle": 40, **{b"tail%d" % n: n for n in range(1, 6)}}


def item_topics() -> list[list[bytes]]:
    random = np.random.default_rng(3)
    topics: list[list[bytes]] = [[] for _ in IDS]
    for name, size in SIZES.items():
        for row in random.permutation(ITEMS)[:size]:
            topics[row].append(name)
    return topics


ITEM_TOPICS = item_topics()
CARRIERS = {name: {i for i, t in zip(IDS, ITEM_TOPICS, strict=True) if name in t} for name in SIZES}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The retriever as it is served; and the head's items that it searches."""
    folder = str(tmp_path_factory.mktemp("saved"))
    model = FakeModel(IDS, list(SIZES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topic_filter.TopicFilter.__init__, "__defaults__", (HEAD_MAX, 1 << 24))
        config = RetrievalConfig(num_results=RESULTS, explicit_share=0.5, merge="round_robin")
        vectors = model.item_vectors.numpy()[:ITEMS]
        retriever = Retriever(model, IDS, ITEM_TOPICS, vectors, config)
    save_retriever(retriever, folder)
    names, starts, rows = topic_filter.topic_rows(ITEM_TOPICS, vectors, HEAD_MAX)
    place = names.index(b"head")
    searched = {IDS[row] for row in rows[starts[place] : starts[place + 1]]}
    assert len(searched) == HEAD_MAX < len(CARRIERS[b"head"])
    return bind(tf.saved_model.load(folder), "retrieve"), searched


_HISTORY = st.lists(st.integers(0, ITEMS - 1), max_size=6, unique=True)
_TAILS = st.sampled_from([b"tail%d" % n for n in range(1, 6)])


@given(
    users=st.lists(
        st.tuples(
            _HISTORY,
            st.lists(st.sampled_from(sorted(SIZES)), min_size=1, max_size=2, unique=True),
            st.one_of(st.none(), _TAILS, st.just(b"middle")),  # a topic seen as a whole
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_a_followed_topic_brings_carries_it_and_no_topic_with_unseen_items_is_empty(
    served, users
):
    retrieve, searched = served
    histories = [
        [*(f"i{n}" for n in own), *sorted(i.decode() for i in CARRIERS.get(whole, ()))]
        for own, _, whole in users
    ]
    follows = [[name.decode() for name in names] for _, names, _ in users]
    answer = {k: v.numpy() for k, v in retrieve(**request(histories, follows)).items()}
    for user, (history, names) in enumerate(zip(histories, follows, strict=True)):
        seen = {item.encode() for item in history}
        found = answer["item_id"][user, : answer["count"][user]]
        assert not set(found.tolist()) & seen
        for slot, name in enumerate(names, start=3):
            bit = (answer["found_by"][user, : len(found)] >> slot) & 1
            topic = name.encode()
            brought = answer["slot"][user, : len(found)] == slot
            assert set(found[bit == 1].tolist()) <= CARRIERS[topic]
            assert set(answer["slot_topic"][user, : len(found)][brought].tolist()) <= {topic}
            left = (searched if topic == b"head" else CARRIERS[topic]) - seen
            # Each unseen item of a tail is in the list; larger topics bring their share.
            if len(left) <= 5:
                assert left <= set(found.tolist())
            assert bit.any() == bool(left)
            if len(left) > RESULTS:
                assert bit.sum() >= RESULTS * 0.5 / len(names) - 1
