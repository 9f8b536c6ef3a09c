"""The transform graph, run by Transform and read back."""

import numpy as np
import pytest

from tests.trainer.tiny import ITEMS, TOPICS, TRANSFORM, example, transform
from trainer import features, inputs, preprocessing
from trainer.config import TransformConfig
from trainer.vocabularies import load_vocabularies


@pytest.fixture(scope="module")
def vocabularies(tiny):
    return load_vocabularies(tiny.output(), TRANSFORM)


@pytest.fixture(scope="module")
def train(tiny):
    return columns(tiny, "train")


def columns(tiny, split):
    files = inputs.split_files([f"{tiny.examples}/Split-train/*"], split)
    return inputs.read_columns(files, tiny.output().transformed_feature_spec())


def test_the_vocabulary_holds_the_whole_catalogue_and_counts_targets(tiny, vocabularies):
    assert sorted(vocabularies.items) == sorted(item.encode() for item in ITEMS)
    counts = dict.fromkeys(ITEMS, 1)
    for row in tiny.raw["train"]:
        counts[row[features.ITEM_ID][0]] += 1
    found = dict(zip(vocabularies.items, vocabularies.item_counts, strict=True))
    assert found == {item.encode(): count for item, count in counts.items()}
    assert vocabularies.item_probabilities()[1:-3].sum() == pytest.approx(1.0)


def test_topics_of_items_and_follows_share_a_vocabulary(vocabularies):
    assert sorted(vocabularies.topics) == sorted(topic.encode() for topic in TOPICS)
    assert vocabularies.topic_rows == 1 + 4 + TRANSFORM.topic_oov_buckets


def test_actions_match_patterns(vocabularies):
    mask = vocabularies.action_mask(("h*",))
    assert [a for a, m in zip(vocabularies.actions, mask[1:], strict=False) if m] == [b"hide"]


def test_rows_are_what_plain_python_makes_of_them(tiny, vocabularies, train):
    item = {token.decode(): row for row, token in enumerate(vocabularies.items, 1)}
    topic = {token.decode(): row for row, token in enumerate(vocabularies.topics, 1)}
    action = {token.decode(): row for row, token in enumerate(vocabularies.actions, 1)}

    def padded(values, width):
        return tuple(([*values] + [0] * width)[:width])

    expected = []
    for row in tiny.raw["train"]:
        now = row[features.TIMESTAMP][0]
        ages = [
            min((now - t + 1).bit_length(), TRANSFORM.age_buckets)
            for t in row[features.HISTORY_TIMESTAMP]
        ]
        expected.append(
            (
                item[row[features.ITEM_ID][0]],
                padded([item[i] for i in row[features.HISTORY_ITEM_ID]], 6),
                padded(ages, 6),
                padded([action[a] for a in row[features.HISTORY_ACTION]], 6),
                padded([topic[t] for t in row[features.FOLLOWED_TOPIC]], 4),
                padded([topic[t] for t in row[features.ITEM_TOPICS]], 3),
                padded([topic[t] for t in row[features.SOURCE_TOPIC]], 1),
            )
        )
    names = (
        features.HISTORY_ITEM_ID,
        features.HISTORY_TIMESTAMP,
        features.HISTORY_ACTION,
        features.FOLLOWED_TOPIC,
        features.ITEM_TOPICS,
        features.SOURCE_TOPIC,
    )
    found = [
        (
            int(train["item_id_xf"][n, 0]),
            *(tuple(train[f"{name}_xf"][n].tolist()) for name in names),
        )
        for n in range(len(expected))
    ]
    assert sorted(found) == sorted(expected)


def test_edges_of_one_request(tmp_path):
    """Unknown ids, empty strings, future and ancient events, ids with spaces, no topics."""
    config = TransformConfig(
        history_max_items=4,
        follows_max_topics=2,
        item_topics_max=2,
        age_buckets=8,
        item_oov_buckets=2,
    )
    now = 1_000_000
    row = {
        **example("a b"),
        features.TIMESTAMP: [now],
        features.HISTORY_ITEM_ID: ["a b", "", "new", "new", "a b"],
        features.HISTORY_TIMESTAMP: [now + 5, 0, now - 3, 0, 7],
        features.HISTORY_ACTION: ["like", "", "odd", "like", "like"],
        features.ITEM_TOPICS: [],
    }
    raw = {"train": [example("a b")], "corpus": [example("a b")], "eval": [row]}
    tiny = transform(str(tmp_path), raw, config)
    (found,) = [{n: c[0].tolist() for n, c in columns(tiny, "eval").items()}]
    assert found["item_id_xf"] == [1]
    known, padding, unknown, again = found["history_item_id_xf"]
    assert (known, padding) == (1, 0)
    assert unknown == again
    assert unknown in (2, 3)
    assert found["history_timestamp_xf"][0] == 1
    assert found["history_timestamp_xf"][2:] == [3, 8]
    assert found["history_action_xf"][1] == 0
    assert found["item_topics_xf"] == [0, 0]
    vocabularies = load_vocabularies(tiny.output(), config)
    assert vocabularies.items == [b"a b"]
    np.testing.assert_array_equal(vocabularies.item_counts, [2])


@pytest.mark.parametrize("age", [0, 1, 2, 3, 2**20 - 1, 2**20, 2**29 - 2, 2**29 - 1, 2**40])
def test_age_buckets_are_exact_at_powers_of_two(age):
    import tensorflow as tf

    stamps = tf.SparseTensor([[0, 0]], tf.constant([5], tf.int64), [1, 1])
    found = preprocessing._age_buckets(tf.constant([[5 + age]], tf.int64), stamps, 32)
    assert found.numpy().tolist() == [min((age + 1).bit_length(), 32)]
