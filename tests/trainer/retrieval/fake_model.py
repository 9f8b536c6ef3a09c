"""A tiny embedding model with the exported signatures: one slot per distinct history item.

Slots 0..K-1 are implicit (distinct history items, newest first; a user without
history has one constant slot), the next F are explicit (followed topics).
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

IMPLICIT_SLOTS = 3
EXPLICIT_SLOTS = 2


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


class FakeModel(tf.Module):
    """Looks ids up in two tables; unknown ids share one row."""

    def __init__(self, item_ids: list[bytes], topics: list[bytes], dim: int = 8, seed: int = 0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.item_vectors = tf.Variable(unit(rng.normal(size=(len(item_ids) + 1, dim))))
        self.topic_vectors = tf.Variable(unit(rng.normal(size=(len(topics) + 1, dim))))
        self.items = self._table(item_ids)
        self.topics = self._table(topics)

    @staticmethod
    def _table(keys: list[bytes]) -> tf.lookup.StaticHashTable:
        return tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(keys), tf.range(len(keys), dtype=tf.int64)
            ),
            len(keys),
        )

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.int64, name="timestamp"),
            tf.TensorSpec([None, None], tf.string, name="history_item_id"),
            tf.TensorSpec([None, None], tf.int64, name="history_timestamp"),
            tf.TensorSpec([None, None], tf.string, name="history_action"),
            tf.TensorSpec([None, None], tf.string, name="followed_topic"),
        ],
    )
    def embed_user(
        self, timestamp, history_item_id, history_timestamp, history_action, followed_topic
    ):
        del timestamp, history_timestamp, history_action
        batch = tf.shape(history_item_id)[0]
        ids = tf.pad(history_item_id, [[0, 0], [0, IMPLICIT_SLOTS]])
        same = tf.equal(ids[:, :, None], ids[:, None, :])  # [batch, history, history]
        first = tf.argmax(same, axis=2, output_type=tf.int32)
        place = tf.range(tf.shape(ids)[1])[None, :]
        new = (ids != "") & tf.equal(first, place)
        rank = tf.cumsum(tf.cast(new, tf.int32), axis=1, exclusive=True)
        slot_of = tf.gather(rank, first, batch_dims=1)
        slot_of = tf.where((ids != "") & (slot_of < IMPLICIT_SLOTS), slot_of, -1)
        fed = tf.equal(slot_of[:, :, None], tf.range(IMPLICIT_SLOTS)[None, None, :])
        mass = tf.reduce_sum(tf.cast(fed, tf.float32), axis=1)  # [batch, implicit]
        source = tf.argmax(tf.cast(fed, tf.int32), axis=1)
        picked = tf.gather(ids, source, batch_dims=1)
        implicit = tf.gather(self.item_vectors, self.items.lookup(picked))
        cold = tf.cast(tf.reduce_all(ids == "", axis=1), tf.float32)
        mass += cold[:, None] * tf.one_hot(0, IMPLICIT_SLOTS)[None, :]
        topics = tf.pad(followed_topic, [[0, 0], [0, EXPLICIT_SLOTS]])[:, :EXPLICIT_SLOTS]
        explicit = tf.gather(self.topic_vectors, self.topics.lookup(topics))
        kinds = tf.constant([0] * IMPLICIT_SLOTS + [1] * EXPLICIT_SLOTS)
        blank = tf.fill([batch, IMPLICIT_SLOTS], "")
        return {
            "embeddings": tf.concat([implicit, explicit], axis=1),
            "slot_valid": tf.concat([mass > 0, topics != ""], axis=1),
            "mass": tf.pad(mass, [[0, 0], [0, EXPLICIT_SLOTS]]),
            "slot_kind": tf.tile(kinds[None, :], [batch, 1]),
            "slot_topic": tf.concat([blank, topics], axis=1),
            "history_slot": slot_of[:, : tf.shape(history_item_id)[1]],
        }

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.string, name="item_id"),
            tf.TensorSpec([None, None], tf.string, name="item_topics"),
        ],
    )
    def embed_items(self, item_id, item_topics):
        del item_topics
        return {"embeddings": tf.gather(self.item_vectors, self.items.lookup(item_id))}


def save_fake_model(model: FakeModel, path: str) -> None:
    tf.saved_model.save(
        model,
        path,
        signatures={"serving_default": model.embed_user, "embed_items": model.embed_items},
    )


def request(histories: list[list[str]], follows: list[list[str]]) -> dict[str, tf.Tensor]:
    """Pads Python lists to the raw features of one batch."""
    batch = len(histories)
    length = max([len(h) for h in histories] + [0])
    width = max([len(f) for f in follows] + [0])

    def pad(rows: list[list[str]], size: int) -> tf.Tensor:
        padded = [[*row, *[""] * (size - len(row))] for row in rows]
        return tf.reshape(tf.constant(padded, tf.string), [batch, size])

    ids = pad(histories, length)
    return {
        "timestamp": tf.fill([batch], tf.constant(1000, tf.int64)),
        "history_item_id": ids,
        "history_timestamp": tf.zeros([batch, length], tf.int64),
        "history_action": tf.fill([batch, length], "read"),
        "followed_topic": pad(follows, width),
    }
