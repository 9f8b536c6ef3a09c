"""Filtered requests against brute force, on every kind of index."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.retrieval.fake_model import request
from tests.trainer.retrieval.plain import (
    IDS,
    ITEM_TOPICS,
    ITEMS,
    TOPICS,
    assert_same_but_for_ties,
    plain_retrieval,
)
from trainer.config import RetrievalConfig
from trainer.retrieval.filters import Attributes
from trainer.retrieval.partitioned import PartitionedSearch
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.search import ExactSearch, ScannParameters, ScannSearch
from trainer.retrieval.signature import bind

REGIONS = [b"de", b"at", b"", b"a=b >= c"]
REGION_OF = [REGIONS[row * row % 4] for row in range(ITEMS)]
CREATED = np.array([1000.0 + row if row % 11 else np.nan for row in range(ITEMS)])
ATTRIBUTES = Attributes(
    texts={"topics": ITEM_TOPICS, "region": [[region] if region else [] for region in REGION_OF]},
    numbers={"created_at": CREATED},
)
CONFIG = RetrievalConfig(num_results=12, filters=("topics", "region", "created_at"))
HISTORIES = [["i3", "i9", "i3"], [], ["gone"], [f"i{i}" for i in range(20)]]
FOLLOWS = [["t1"], ["t0", "t4"], ["nope"], []]


def whole(embeddings: tf.Variable, few: int) -> ExactSearch:
    search = ExactSearch(embeddings)
    search.few = few
    return search


def parted(embeddings: tf.Variable) -> PartitionedSearch:
    search = PartitionedSearch.build(embeddings, parts=6, probed=6)
    search.few = 0
    return search


def scann(embeddings: tf.Variable) -> ScannSearch:
    found = ScannSearch.build(embeddings.numpy(), ScannParameters(4, 4, ITEMS))
    found.few = 0
    return found


#: Where all of an index is visited it is exact, whichever way it takes.
SEARCHERS = {
    "scored one by one": lambda embeddings: whole(embeddings, ITEMS),
    "scanned": lambda embeddings: whole(embeddings, 0),
    "parts": parted,
    "scann": scann,
}


class Asked:
    """The signatures of a retriever as methods."""

    def __init__(self, retriever):
        made = retriever.signatures()
        self.retrieve = made["retrieve"]
        self.retrieve_filtered = made["retrieve_filtered"]
        self.similar = made["similar_items_filtered"]


@pytest.fixture(scope="module", params=list(SEARCHERS))
def retriever(request, model, vectors):
    made = SEARCHERS[request.param]
    return Asked(Retriever(model, IDS, ITEM_TOPICS, vectors, CONFIG, made, ATTRIBUTES))


class Filter:
    """One user's filter and the rows that it allows, worked out item by item."""

    def __init__(self, allow, deny, regions, topics, bounds):
        self.allow, self.deny = allow, deny
        self.conditions = [
            *(b"region=" + region for region in regions),
            *(b"topics=" + topic for topic in topics),
            *(f"created_at{operator}{number}".encode() for operator, number in bounds),
        ]
        self._regions, self._topics, self._bounds = regions, topics, bounds

    def rows(self) -> list[int]:
        return [row for row in range(ITEMS) if self._allows(row)]

    def _allows(self, row: int) -> bool:
        created = CREATED[row]
        equal = [number for operator, number in self._bounds if operator == "="]
        return (
            (not self.allow or IDS[row] in self.allow)
            and IDS[row] not in self.deny
            and (not self._regions or (REGION_OF[row] != b"" and REGION_OF[row] in self._regions))
            and (not self._topics or bool(set(self._topics) & set(ITEM_TOPICS[row])))
            and (not self._bounds or not np.isnan(created))
            and all(created >= number for operator, number in self._bounds if operator == ">=")
            and all(created <= number for operator, number in self._bounds if operator == "<=")
            and (not equal or created in equal)
        )


IDS_GIVEN = st.lists(st.sampled_from([*IDS, b"unknown"]), max_size=30)
BOUNDS = st.lists(st.tuples(st.sampled_from([">=", "<=", "="]), st.integers(990, 1070)), max_size=3)
FILTERS = st.builds(
    Filter,
    st.just([]) | IDS_GIVEN,
    st.just([]) | IDS_GIVEN,
    st.lists(st.sampled_from([*REGIONS, b"nowhere"]), max_size=2),
    st.lists(st.sampled_from([*TOPICS, b"nothing"]), max_size=2),
    BOUNDS,
)


def padded(lists: list[list[bytes]]) -> tf.Tensor:
    width = max(1, *map(len, lists))
    return tf.constant([[*each, *[b""] * (width - len(each))] for each in lists], tf.string)


def inputs(filters: list[Filter]) -> dict[str, tf.Tensor]:
    return {
        "allow_item_id": padded([each.allow for each in filters]),
        "deny_item_id": padded([each.deny for each in filters]),
        "filter": padded([each.conditions for each in filters]),
    }


@given(st.lists(FILTERS, min_size=len(HISTORIES), max_size=len(HISTORIES)))
def test_a_filtered_list_is_the_best_of_what_is_allowed(retriever, model, vectors, filters):
    asked = request(HISTORIES, FOLLOWS)
    got = retriever.retrieve_filtered(**asked, **inputs(filters))
    allowed = [each.rows() for each in filters]
    for user, want in enumerate(plain_retrieval(model, vectors, asked, CONFIG, allowed)):
        count = int(got["count"][user])
        assert count == len(want)
        items, slots, scores = (
            got[name][user, :count].numpy() for name in ("item_id", "slot", "score")
        )
        assert_same_but_for_ties(items, slots, scores, want)


@given(FILTERS, st.integers(0, ITEMS - 1))
def test_neighbours_are_the_nearest_of_what_is_allowed(retriever, vectors, filter_, row):
    items = {"item_id": tf.constant([IDS[row]]), "item_topics": tf.constant([[""]])}
    got = retriever.similar(**items, num_results=tf.constant([7]), **inputs([filter_]))
    others = [other for other in filter_.rows() if other != row]
    want = sorted(vectors[others] @ vectors[row], reverse=True)[:7]
    count = int(got["count"][0])
    assert set(got["item_id"][0, :count].numpy()) <= {IDS[other] for other in others}
    np.testing.assert_allclose(got["score"][0, :count], want, rtol=1e-5, atol=1e-6)


def test_no_filter_is_the_unfiltered_request(retriever):
    asked = request(HISTORIES, FOLLOWS)
    plain, filtered = retriever.retrieve(**asked), retriever.retrieve_filtered(**asked)
    for name in plain:
        np.testing.assert_array_equal(plain[name], filtered[name])


def test_one_filter_stands_for_the_whole_batch_and_a_batch_may_be_empty(retriever):
    one = {"filter": tf.constant([[b"region=de"]])}
    asked = request(HISTORIES, FOLLOWS)
    every = {"filter": tf.constant([[b"region=de"]] * len(HISTORIES))}
    np.testing.assert_array_equal(
        retriever.retrieve_filtered(**asked, **one)["item_id"],
        retriever.retrieve_filtered(**asked, **every)["item_id"],
    )
    none = {name: value[:0] for name, value in asked.items()}
    assert retriever.retrieve_filtered(**none, **one)["item_id"].shape == (0, 0)


@pytest.mark.parametrize(
    "condition", [b"region", b"colour=red", b"region>=a", b"created_at=soon", b"created_at>1", b"="]
)
def test_a_condition_that_cannot_be_read_is_refused_with_the_columns(retriever, condition):
    with pytest.raises(tf.errors.InvalidArgumentError, match="created_at>=NUMBER"):
        retriever.retrieve_filtered(
            **request(HISTORIES, FOLLOWS), filter=tf.constant([[condition]])
        )


def test_filters_are_saved_and_a_model_without_them_has_no_such_signature(model, vectors, tmp_path):
    made = Retriever(model, IDS, ITEM_TOPICS, vectors, CONFIG, attributes=ATTRIBUTES)
    save_retriever(made, str(tmp_path / "filtered"))
    loaded = tf.saved_model.load(str(tmp_path / "filtered"))
    asked = request(HISTORIES, FOLLOWS)
    given_ = {"filter": tf.constant([[b"region=a=b >= c"]])}
    after = bind(loaded, "retrieve_filtered")(**asked, **given_)
    before = Asked(made).retrieve_filtered(**asked, **given_)
    np.testing.assert_array_equal(before["item_id"], after["item_id"])
    shown = {item for item in after["item_id"].numpy().ravel() if item}
    assert shown <= {IDS[row] for row in range(ITEMS) if REGION_OF[row] == REGIONS[3]}
    assert bind(loaded, "similar_items_filtered")(
        item_id=tf.constant([b"i1"]), item_topics=tf.constant([[b""]]), **given_
    )["count"].numpy().tolist() == [sum(REGION_OF[r] == REGIONS[3] for r in range(ITEMS) if r != 1)]
    plain = Retriever(model, IDS, ITEM_TOPICS, vectors, RetrievalConfig())
    assert not [name for name in plain.signatures() if "filtered" in name]
