"""Encode, search in shards and merge: the very answer of one retriever."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.retrieval.fake_model import FakeModel, request
from trainer.config import RetrievalConfig
from trainer.retrieval import routing, signature
from trainer.retrieval.filters import Attributes
from trainer.retrieval.retriever import Retriever
from trainer.retrieval.sharding import shard_of

IDS = [b"i%d" % n for n in range(120)]
TOPICS = [[b"t%d" % (n % 3)] if n % 5 else [] for n in range(120)]
SHARDS = 3
USERS = request(
    [["i1", "i2", "i3", "i1"], [], ["i9"], ["nobody", "i40"]], [["t1"], ["t0", "t2"], [], ["?"]]
)


class World:
    """One retriever, and the same in parts."""

    def __init__(self, **settings):
        config = RetrievalConfig(**{"num_results": 10, "max_results": 40, **settings})
        order = np.argsort(shard_of(IDS, SHARDS), kind="stable")
        ids, topics = [IDS[n] for n in order], [TOPICS[n] for n in order]
        model = FakeModel(IDS, [b"t0", b"t1", b"t2"])
        vectors = model.item_vectors.numpy()[order]
        price = np.arange(120.0) if config.filters else None
        self.one = Retriever(model, ids, topics, vectors, config, attributes=attributes(price))
        ends = np.cumsum(np.bincount(shard_of(IDS, SHARDS)))
        self.parts = []
        for first, last in zip([0, *ends[:-1]], ends, strict=True):
            part = slice(first, last)
            own = attributes(None if price is None else price[part])
            given = (ids[part], topics[part], vectors[part], config)
            self.parts.append(routing.ShardRetriever(*given, attributes=own))
        self.router = routing.Router(model, config, bool(config.filters))
        self.ends = self.router.signatures()
        self.searches = [shard.signatures() for shard in self.parts]

    def answer(self, filtered: bool = False, **inputs) -> dict:
        ends = self.ends
        encoded = ends[routing.ENCODE_FILTERED if filtered else routing.ENCODE](**inputs)
        name = routing.SEARCH_SLOTS_FILTERED if filtered else routing.SEARCH_SLOTS
        names = [*routing.SEARCH_SPECS, *(signature.FILTER_SPECS if filtered else {})]
        found = [search[name](**{key: encoded[key] for key in names}) for search in self.searches]
        together = {key: tf.concat([each[key] for each in found], 2) for key in found[0]}
        given = {**encoded, **together}
        return ends[routing.MERGE](**{key: given[key] for key in routing.MERGE_SPECS})


def attributes(price) -> Attributes | None:
    return None if price is None else Attributes({}, {"price": price})


def assert_equal(found: dict, truth: dict) -> None:
    assert found.keys() == truth.keys()
    for name in truth:
        if truth[name].dtype == tf.float32:
            np.testing.assert_allclose(found[name], truth[name], rtol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], truth[name], err_msg=name)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"merge": "score", "agreement": 0.1, "exclude_seen": False, "topic_filter": False},
    ],
)
def test_a_router_answers_as_one_retriever(settings):
    world = World(**settings)
    options = {
        "num_results": tf.constant([3, 40, 1, 25]),
        "user_id": tf.constant(["a", "b", "c", "d"]),
    }
    for user, asked in ((USERS, options), (request([], []), {})):
        assert_equal(world.answer(**user, **asked), world.one.retrieve(**user, **asked))


@pytest.mark.nightly
def test_deep_lists_of_one_turn_each_are_searched_as_deep_as_one_retriever_does(monkeypatch):
    monkeypatch.setattr("trainer.retrieval.selection.DEPTH_MIN", 2)
    world = World(merge="round_robin", explicit_share=0.0)
    options = {"num_results": tf.constant([40])}
    assert_equal(world.answer(**USERS, **options), world.one.retrieve(**USERS, **options))


@pytest.mark.nightly
def test_filters_act_in_the_shards():
    world = World(filters=("price:number",))
    given = {
        "filter": tf.constant([["price>=30"]]),
        "deny_item_id": tf.constant([["i77", "i3"], ["i80", ""], ["", ""], ["i90", ""]]),
        "allow_item_id": tf.constant([["", ""]] * 3 + [["i50", "strange"]]),
    }
    found = world.answer(filtered=True, **USERS, **given)
    assert_equal(found, world.one.signatures()["retrieve_filtered"](**USERS, **given))
    assert found["count"].numpy().tolist()[3] == 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="not understood"):
        world.answer(filtered=True, **USERS, filter=tf.constant([["colour=red"]]))
