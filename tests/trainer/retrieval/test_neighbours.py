"""Neighbours of the history beside the slots: what joins, in what order, and what it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import sparse

from components.index_builder.neighbour_file import table_of
from tests.trainer.retrieval import oracles
from tests.trainer.retrieval.fake_model import request
from tests.trainer.retrieval.plain import IDS, ITEM_TOPICS, ITEMS, TOPICS
from trainer.config import RetrievalConfig
from trainer.retrieval.budgets import NEIGHBOUR
from trainer.retrieval.delta import DELTA_ASSET, no_items, write_delta
from trainer.retrieval.filters import Attributes
from trainer.retrieval.neighbours import NeighbourTable
from trainer.retrieval.retriever import Retriever, save_retriever

WEIGHT = 0.4
CONFIG = RetrievalConfig(num_results=8, merge="score", filters=("topics",))
ATTRIBUTES = Attributes({"topics": [list(dict.fromkeys(each)) for each in ITEM_TOPICS]}, {})


def a_table(weight: float = WEIGHT) -> NeighbourTable:
    matrix = sparse.random(ITEMS, ITEMS, 0.1, "csr", np.float32, np.random.default_rng(3))
    matrix.setdiag(0)
    matrix.eliminate_zeros()
    return table_of(matrix.tocsr(), weight)


TABLE = a_table()


def made(model, vectors, config=CONFIG, table=TABLE):
    return Retriever(
        model, IDS, ITEM_TOPICS, vectors, config, attributes=ATTRIBUTES, neighbours=table
    )


@pytest.fixture(scope="module")
def retriever(model, vectors):
    return made(model, vectors)


def plain(model, vectors, asked, user, allowed=None):
    """Returns `{row: (order, score, neighbour of)}` of one user, best first, by plain loops."""
    slots = {name: value.numpy() for name, value in model.embed_user(**asked).items()}
    history = [item.decode() for item in asked["history_item_id"].numpy()[user] if item]
    seen = {IDS.index(item.encode()) for item in history}
    rows = [row for row in range(ITEMS) if row not in seen and (allowed is None or row in allowed)]
    total: dict[int, float] = {}
    most: dict[int, tuple[float, str]] = {}
    for place, item in enumerate(history):
        source = IDS.index(item.encode())
        if slots["history_slot"][user, place] < 0:
            continue
        for entry in range(TABLE.starts[source], TABLE.starts[source + 1]):
            row, value = int(TABLE.rows[entry]), float(TABLE.values[entry])
            if row not in seen:
                total[row] = total.get(row, 0.0) + value
                if value > most.get(row, (0.0, ""))[0]:
                    most[row] = (value, item)
    peak = max(total.values(), default=1.0)
    lift = {row: WEIGHT * value / peak for row, value in total.items()}
    limit = CONFIG.num_results
    found: dict[int, tuple[float, float, str]] = {}
    implicit = []
    for slot, valid in enumerate(slots["slot_valid"][user]):
        if not valid:
            continue
        vector, own = slots["embeddings"][user, slot], rows
        if slots["slot_kind"][user, slot] == 1:
            own = [row for row in rows if slots["slot_topic"][user, slot] in ITEM_TOPICS[row]]
        else:
            implicit.append(vector)
        for row, score in oracles.search(vector, vectors, own)[:limit]:
            order = score + lift.get(row, 0.0)
            if order > found.get(row, (-9.0,))[0]:
                found[row] = (order, score, "")
    further = sorted((r for r in rows if r in lift and r not in found), key=lambda r: -lift[r])
    for row in further[:limit]:
        if implicit:
            score = max(float(vector @ vectors[row]) for vector in implicit)
            found[row] = (score + lift[row], score, most[row][1])
    ranked = sorted(found.items(), key=lambda pair: -pair[1][0])
    return ranked[:limit]


HISTORY = st.lists(st.sampled_from([i.decode() for i in IDS]), max_size=6, unique=True)
FOLLOW = st.lists(st.sampled_from([t.decode() for t in TOPICS]), max_size=2, unique=True)


@given(st.lists(st.tuples(HISTORY, FOLLOW), min_size=1, max_size=3))
def test_the_list_is_that_of_plain_loops(model, vectors, retriever, users):
    asked = request([history for history, _ in users], [follows for _, follows in users])
    answer = {name: value.numpy() for name, value in retriever.retrieve(**asked).items()}
    for user in range(len(users)):
        want = plain(model, vectors, asked, user)
        count = int(answer["count"][user])
        assert count == len(want)
        order = {IDS[row]: number for row, (number, _, _) in want}
        items = answer["item_id"][user, :count].tolist()
        assert sorted(items) == sorted(order)
        assert all(order[a] >= order[b] - 1e-5 for a, b in itertools.pairwise(items))
        said = {IDS[row]: (score, source) for row, (_, score, source) in want}
        for place, item in enumerate(items):
            score, source = said[item]
            assert abs(answer["score"][user, place] - score) < 1e-5
            neighbour = answer["slot_kind"][user, place] == 3
            assert neighbour == bool(source) == (answer["found_by"][user, place] == 0)
            if neighbour:
                assert answer["slot_topic"][user, place] == source.encode()
                assert answer["slot_valid"][user, answer["slot"][user, place]]


def test_a_balanced_list_is_as_it_was_without_weight_and_of_neighbours_with_much(model, vectors):
    asked = request([["i3", "i9", "i20"]], [["t1"]])
    config = CONFIG.model_copy(update={"merge": "balanced"})
    retrievers = [made(model, vectors, config, t) for t in (None, a_table(0.0), a_table(5.0))]
    without, nothing, much = (retriever.retrieve(**asked) for retriever in retrievers)
    for name, value in without.items():
        np.testing.assert_array_equal(value, nothing[name])
    sources = [IDS.index(item) for item in (b"i3", b"i9", b"i20")]
    near = {row for s in sources for row in TABLE.rows[TABLE.starts[s] : TABLE.starts[s + 1]]}
    found = {IDS.index(item) for item in much["item_id"].numpy()[0].tolist()}
    assert len(found & near) >= min(len(near - set(sources)), 7)


def test_filters_and_switched_off_interests_hold_for_neighbours(model, vectors, retriever):
    asked = request([["i3", "i9"], ["i5"]], [["t1"], []])
    signatures = retriever.signatures()
    allowed = {row for row in range(ITEMS) if b"t2" in ITEM_TOPICS[row]}
    answer = signatures["retrieve_filtered"](**asked, filter=tf.constant([[b"topics=t2"]]))
    for user in range(2):
        items = answer["item_id"][user, : int(answer["count"][user])].numpy().tolist()
        assert {IDS.index(item) for item in items} <= allowed
        assert len(items) == CONFIG.num_results
    off = retriever.retrieve(**asked, use_implicit=tf.constant([False]))
    assert set(off["slot_kind"].numpy().ravel().tolist()) <= {-1, 1}
    assert retriever.retrieve(**{n: v[:0] for n, v in asked.items()})["item_id"].shape == (0, 0)


def test_a_neighbour_that_a_delta_withdraws_is_not_brought(model, vectors, tmp_path):
    config = CONFIG.model_copy(update={"delta": True})
    columns, path = config.filter_columns(), tmp_path / DELTA_ASSET
    nothing = no_items(vectors.shape[1], columns)
    write_delta(nothing, columns, path)
    retriever = Retriever(
        model, IDS, ITEM_TOPICS, vectors, config, attributes=ATTRIBUTES, delta=str(path),
        neighbours=a_table(5.0),
    )  # fmt: skip
    asked = request([["i3", "i9"]], [[]])
    before = retriever.retrieve(**asked)
    brought = before["item_id"].numpy()[before["slot_kind"].numpy() == NEIGHBOUR]
    gone = {*brought[:2].tolist()}
    assert len(gone) == 2
    rows = np.array([IDS.index(item) for item in gone], np.int32)
    write_delta(nothing._replace(gone=rows), columns, path)
    retriever.delta.load(str(path))
    after = retriever.retrieve(**asked)
    assert not gone & set(after["item_id"].numpy().ravel().tolist())
    assert int(after["count"][0]) == config.num_results


@pytest.mark.nightly
def test_a_saved_model_answers_alike(model, vectors, retriever, tmp_path):
    save_retriever(retriever, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    asked = request([["i3", "i9"], []], [[], ["t1"]])
    options = {
        "user_id": tf.constant([b""]),
        "num_results": tf.constant([0]),
        "use_implicit": tf.constant([True]),
        "use_explicit": tf.constant([True]),
    }
    for name, value in loaded.retrieve(**asked, **options).items():
        np.testing.assert_array_equal(value, retriever.retrieve(**asked)[name])


def test_neighbours_need_a_merge_by_score():
    with pytest.raises(ValidationError, match="neighbours need a merge by score"):
        RetrievalConfig(neighbours="rp3beta", merge="round_robin")
