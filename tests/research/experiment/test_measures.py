"""Every figure of a row against plain loops."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import normalized_mutual_info_score

from research.experiment import measures
from research.experiment.measures import Lists

ITEMS, TOPICS = 12, 5
CARRIED = [{n % TOPICS, (n // 2) % TOPICS} if n % 5 else set() for n in range(ITEMS)]


def matrix(sets, width):
    dense = np.zeros((len(sets), width), np.float32)
    for row, columns in enumerate(sets):
        dense[row, list(columns)] = 1
    return sparse.csr_matrix(dense)


ITEM_TOPICS = matrix(CARRIED, TOPICS)


@st.composite
def answers(draw):
    """Result lists of some examples with slots, kinds, bits, wanted topics and targets."""
    count = draw(st.integers(1, 5))
    rows, wanted = [], []
    for _ in range(count):
        row = draw(st.lists(st.integers(0, ITEMS - 1), max_size=8, unique=True))
        rows.append(row + [draw(st.sampled_from([-1, -2]))] * (8 - len(row)))
        wanted.append(draw(st.sets(st.integers(0, TOPICS - 1))))
    rows = np.asarray(rows, np.int32)
    bits = np.asarray(
        draw(st.lists(st.integers(1, 15), min_size=rows.size, max_size=rows.size))
    ).reshape(rows.shape)
    slot = np.vectorize(lambda b: (int(b) & -int(b)).bit_length() - 1)(bits)
    there = rows >= 0
    lists = Lists(
        rows=rows,
        slot=np.where(there, slot, -1).astype(np.int8),
        kind=np.where(there, slot >= 2, -1).astype(np.int8),
        found_by=np.where(there, bits, 0).astype(np.int64),
    )
    targets = draw(st.lists(st.integers(-2, ITEMS - 1), min_size=count, max_size=count))
    return lists, np.asarray(targets), wanted


def near(found, want):
    assert (math.isnan(found) and math.isnan(want)) or found == pytest.approx(want, abs=1e-9)


@given(answers())
def test_values_of_lists_equal_those_of_loops(case):
    lists, targets, wanted = case
    values = measures.list_values(lists, targets, ITEM_TOPICS, matrix(wanted, TOPICS))
    for example, target in enumerate(targets):
        row = [int(item) for item in lists.rows[example] if item >= 0]
        place = row.index(target) + 1 if target in row else 0
        near(values["recall@10"][example], float(0 < place <= 10))
        near(values["ndcg@10"][example], 1 / math.log2(place + 1) if place else 0.0)
        near(values["mrr"][example], 1 / place if place else 0.0)
        weight = [0.0] * TOPICS
        for item in row:
            for topic in CARRIED[item]:
                weight[topic] += 1 / len(CARRIED[item])
        shares = [w / sum(weight) for w in weight if w]
        near(values["topic_entropy@50"][example], -sum(p * math.log(p) for p in shares))
        near(values["distinct_topics"][example], len(shares))
        asked = wanted[example]
        relevant = [item for item in row if CARRIED[item] & asked]
        near(
            values["topic_relevance"][example],
            (len(relevant) / max(1, len(row))) if asked else math.nan,
        )
        carried = set().union(*(CARRIED[item] for item in row)) & asked
        near(values["topics_covered"][example], len(carried) / len(asked) if asked else math.nan)
        explicit = float(lists.kind[example, place - 1] == 1) if place else math.nan
        near(values["hits_explicit"][example], explicit)


@given(answers())
def test_the_overlap_of_kinds_is_that_of_candidate_sets(case):
    lists, _, _ = case
    found = measures.kind_overlap(lists, [2, 3])
    for example in range(len(lists.rows)):
        pairs = list(zip(lists.rows[example], lists.found_by[example], strict=True))
        implicit = {item for item, bits in pairs if item >= 0 and bits & 0b0011}
        explicit = {item for item, bits in pairs if item >= 0 and bits & 0b1100}
        both = bool(implicit and explicit)
        shared = len(implicit & explicit)
        near(found["overlap_implicit"][example], shared / len(implicit) if both else math.nan)
        near(
            found["overlap_jaccard"][example],
            shared / len(implicit | explicit) if both else math.nan,
        )


def test_a_row_without_explicit_slots_has_no_overlap():
    lists = Lists(*(np.array([[1, 2]], np.int64) for _ in range(4)))
    assert np.isnan(measures.kind_overlap(lists, [])["overlap_implicit"]).all()


@given(answers())
def test_the_shares_of_kinds_count_results(case):
    lists, _, _ = case
    kinds = [int(kind) for row in lists.kind for kind in row if kind >= 0]
    found = measures.kind_shares(lists)
    assert found["implicit_share"] == pytest.approx(kinds.count(0) / max(1, len(kinds)))
    assert found["explicit_share"] == pytest.approx(kinds.count(1) / max(1, len(kinds)))


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 10_000))
def test_the_cosine_of_a_user_is_the_mean_over_pairs_of_valid_vectors(users, slots, seed):
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(users, slots, 3)).astype(np.float32)
    valid = generator.random((users, slots)) < 0.7
    found = measures.pairwise_cosine(vectors, valid)
    for user in range(users):
        chosen = vectors[user][valid[user]].astype(np.float64)
        cosines = [
            a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            for a, b in itertools.combinations(chosen, 2)
        ]
        want = np.mean(cosines) if cosines else math.nan
        assert (math.isnan(found[user]) and math.isnan(want)) or found[user] == pytest.approx(want)


def test_equal_embeddings_have_collapsed_and_orthogonal_ones_have_not():
    same = np.ones((1, 4, 3))
    assert measures.pairwise_cosine(same, np.ones((1, 4), bool))[0] == pytest.approx(1.0)
    apart = np.eye(3)[None]
    assert measures.pairwise_cosine(apart, np.ones((1, 3), bool))[0] == pytest.approx(0.0)


@given(st.integers(1, 5), st.integers(2, 4), st.integers(0, 10_000))
def test_the_balance_of_clusters_is_their_entropy_over_its_maximum(users, slots, seed):
    generator = np.random.default_rng(seed)
    valid = generator.random((users, slots)) < 0.8
    history = np.full((users, 9), -1)
    for user in range(users):
        choices = [-1, *np.flatnonzero(valid[user])]
        history[user] = generator.choice(choices, 9)
    found = measures.cluster_balance(history, valid)
    for user in range(users):
        number = int(valid[user].sum())
        if number < 2:
            assert math.isnan(found[user])
            continue
        sizes = [int((history[user] == slot).sum()) for slot in range(slots)]
        total = sum(sizes)
        entropy = -sum(s / total * math.log(s / total) for s in sizes if s)
        assert found[user] == pytest.approx(entropy / math.log(number))


def test_slots_that_are_hardly_ever_best_are_dead():
    best = np.array([0] * 596 + [1] * 1 + [2] * 3)
    found = measures.slot_use(best, 4)
    assert found["dead_slots"] == 3.0
    assert measures.slot_use(np.arange(400) % 4, 4) == {"slot_use": 1.0, "dead_slots": 0.0}
    shares = [596 / 600, 1 / 600, 3 / 600]
    entropy = -sum(p * math.log(p) for p in shares)
    assert found["slot_use"] == pytest.approx(entropy / math.log(4))
    assert measures.slot_use(np.zeros(0, int), 4) == {}


@given(st.integers(1, 5), st.integers(0, 40), st.integers(0, 10_000))
def test_grouped_mutual_information_is_that_of_scikit_learn(groups, pairs, seed):
    generator = np.random.default_rng(seed)
    group = generator.integers(0, groups, pairs)
    first, second = generator.integers(0, 4, pairs), generator.integers(0, 3, pairs)
    found = measures.grouped_nmi(group, first, second, groups)
    for number in range(groups):
        own = group == number
        if not own.any():
            assert math.isnan(found[number])
            continue
        want = normalized_mutual_info_score(second[own], first[own])
        assert found[number] == pytest.approx(want, abs=1e-9)


def test_clusters_that_are_topics_agree_fully_and_shuffled_ones_do_not():
    topic = np.tile(np.repeat([0, 1, 2, 3], 25), (30, 1))
    found = measures.cluster_agreement(topic, topic, seed=1)
    np.testing.assert_allclose(found["cluster_nmi"], 1.0)
    assert found["cluster_nmi_random"].mean() < 0.1
    again = measures.cluster_agreement(topic, topic, seed=1)
    np.testing.assert_array_equal(found["cluster_nmi_random"], again["cluster_nmi_random"])


def test_a_shuffle_keeps_each_users_cluster_sizes():
    """With one label in each labelling the shuffled agreement is known: it is full."""
    slot = np.array([[0] * 6, [1] * 6])
    found = measures.cluster_agreement(slot, np.array([[3] * 6, [2] * 6]), seed=0)
    np.testing.assert_allclose(found["cluster_nmi_random"], 1.0)


def test_users_with_few_clustered_items_say_nothing_of_a_clustering():
    slot = np.array([[0, 0, 1, 1, 0], [0, 0, 1, 1, -1], [0, 1, 0, 1, 0]])
    topic = np.array([[1, 1, 2, 2, 1], [1, 1, 2, 2, 1], [1, 1, 2, 2, -1]])
    found = measures.cluster_agreement(slot, topic, seed=1)["cluster_nmi"]
    assert found[0] == pytest.approx(1.0) and np.isnan(found[1:]).all()


def test_means_skip_what_does_not_exist():
    values = {"a": np.array([1.0, np.nan, 3.0]), "b": np.full(3, np.nan)}
    assert measures.means(values) == {"a": 2.0}
    assert measures.means(values, np.array([True, True, False])) == {"a": 1.0}
