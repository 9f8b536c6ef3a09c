"""Explicit conditions: which topics are asked and learned."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from trainer import conditions
from trainer.config import ModelConfig


def pick(topics, keys, count, known=None):
    topics = tf.constant([topics], tf.int64)
    known = topics > 0 if known is None else tf.constant([known])
    return conditions.pick_topics(topics, tf.constant([keys], tf.int64), known, count).numpy()[0]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1000)), min_size=1, max_size=8),
    st.integers(1, 5),
)
def test_the_smallest_keys_of_distinct_topics_win(follows, count):
    topics, keys = [t for t, _ in follows], [100 * k + n for n, (_, k) in enumerate(follows)]
    first = {t: n for n, t in reversed(list(enumerate(topics))) if t > 0}
    best = sorted(first.values(), key=lambda place: keys[place])[:count]
    expected = sorted(best) + [-1] * (count - len(best))
    assert pick(topics, keys, count).tolist() == expected


def test_unknown_topics_are_not_picked():
    assert pick([3, 4], [1, 2], 2, known=[False, True]).tolist() == [1, -1]


def test_more_slots_than_follows_and_no_follows_at_all():
    assert pick([2], [5], 3).tolist() == [0, -1, -1]
    empty = conditions.pick_topics(
        tf.zeros([2, 0], tf.int64), tf.zeros([2, 0], tf.int64), tf.zeros([2, 0], tf.bool), 2
    )
    assert empty.numpy().tolist() == [[-1, -1], [-1, -1]]


def test_the_draw_is_the_same_within_a_day_and_changes_with_it():
    topics = tf.constant([[f"topic {n}" for n in range(20)]])

    def order(second):
        return np.argsort(conditions.pick_keys(topics, tf.constant([second], tf.int64)))[0].tolist()

    assert order(86_400 * 10) == order(86_400 * 11 - 1)
    assert len({tuple(order(86_400 * day)) for day in range(5)}) == 5


def columns(source, derived, item_topics):
    return {
        "source_topic_xf": tf.constant(source, tf.int64)[:, tf.newaxis],
        "source_topic_derived_xf": tf.constant(derived, tf.int64)[:, tf.newaxis],
        "item_topics_xf": tf.constant(item_topics, tf.int64),
    }


SEED = tf.constant([1, 2])


def test_source_interest_is_the_logged_topic_or_the_null_condition():
    batch = columns([4, 0, 5], [0, 0, 1], [[1, 0]] * 3)
    topic, weight = conditions.training_topic(batch, ModelConfig(), SEED)
    assert topic.numpy().tolist() == [4, 0, 5]
    assert weight.numpy().tolist() == [1, 1, 1]
    logged_only = ModelConfig(ablation={"derived_sources": False, "null_condition": False})
    topic, weight = conditions.training_topic(batch, logged_only, SEED)
    assert topic.numpy().tolist() == [4, 0, 0]
    assert weight.numpy().tolist() == [1, 0, 0]


def test_item_interest_draws_uniformly_from_the_items_topics():
    batch = columns([0] * 3000, [0] * 3000, [[7, 0, 9]] * 2999 + [[0, 0, 0]])
    config = ModelConfig(condition="item_interest")
    topic = conditions.training_topic(batch, config, SEED)[0].numpy()
    assert topic[-1] == 0
    counts = np.bincount(topic[:-1], minlength=10)
    assert counts[7] + counts[9] == 2999
    assert abs(counts[7] - 1500) < 150
