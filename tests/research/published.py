"""A small published bundle that really answers, and the tables beside it."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from components.pusher.push import ManifestFields, PushRequest, push
from trainer.config import RetrievalConfig
from trainer.retrieval.retriever import Retriever, save_retriever

ITEMS = [f"i{n}" for n in range(12)]
TOPICS = [["even", "all"] if n % 2 == 0 else ["odd", "all"] for n in range(12)]
IMPLICIT = 2


def vectors() -> np.ndarray:
    """Even items point to one side, odd ones to the other; smaller numbers further."""
    strength = np.linspace(1.0, 0.5, 12, dtype=np.float32)
    side = np.eye(2, dtype=np.float32)[np.arange(12) % 2]
    return side * strength[:, None]


class TwoSides(tf.Module):
    """Slot 0 gathers even history items, slot 1 odd ones; slot 2, the follow, the opposite."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, None], tf.string),
            tf.TensorSpec([None, None], tf.int64),
            tf.TensorSpec([None, None], tf.string),
            tf.TensorSpec([None, None], tf.string),
        ]
    )
    def embed_user(
        self, timestamp, history_item_id, history_timestamp, history_action, followed_topic
    ):
        number = _numbers(history_item_id)
        history_slot = tf.where(number < 0, -1, number % 2)
        mass = tf.stack(
            [tf.reduce_sum(tf.cast(history_slot == s, tf.float32), 1) for s in range(IMPLICIT)], 1
        )
        cold = tf.reduce_sum(mass, 1, keepdims=True) == 0
        mass = tf.where(cold, [[1.0, 0.0]], mass)
        topic = followed_topic[:, :1]
        batch = tf.shape(timestamp)[0]
        return {
            "embeddings": tf.tile(
                tf.constant([[[1.0, 0.0], [0.0, 1.0], [-0.7, -0.7]]]), [batch, 1, 1]
            ),
            "slot_valid": tf.concat([mass > 0, topic != ""], 1),
            "mass": tf.concat([mass, tf.zeros([batch, 1])], 1),
            "slot_kind": tf.tile([[0, 0, 1]], [batch, 1]),
            "slot_topic": tf.concat([tf.fill([batch, IMPLICIT], ""), topic], 1),
            "history_slot": history_slot,
        }

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([None, None], tf.string)]
    )
    def embed_items(self, item_id, item_topics):
        return {"embeddings": tf.zeros([tf.shape(item_id)[0], 2])}


def _numbers(ids: tf.Tensor) -> tf.Tensor:
    """Numbers of item ids, -1 for pads and strange ids."""
    digits = tf.strings.regex_replace(ids, "^i", "")
    return tf.strings.to_number(
        tf.where(tf.strings.regex_full_match(ids, "i[0-9]+"), digits, "-1"), tf.int32
    )


def write_tables(root):
    root.mkdir(parents=True, exist_ok=True)
    (root / "engagements.csv").write_text(
        "user_id,item_id,timestamp,action\n"
        "007,i0,1700000000,click\n"
        "007,i2,1700000100,click\n"
        "007,i1,1700000200,click\n"
        "007,i1,1700000200,click\n"
        "other,i3,1700009000,click\n"
    )
    (root / "items.csv").write_text(
        "item_id,topics,title\n"
        + "".join(f"{i},{'|'.join(t)},Title {i}\n" for i, t in zip(ITEMS, TOPICS, strict=True))
    )
    (root / "follows.csv").write_text(
        "user_id,topic,timestamp,unfollowed_at\n007,odd,1700000000,\n007,even,1600000000,1650000000\n"
        "fan,even,,\n"
    )
    return root


def publish(root, **fields):
    """Publishes a bundle of twelve items below `root/serving/demo` and returns its folder."""
    index = root / "index"
    if not index.exists():
        config = RetrievalConfig(num_results=8, explicit_share=0.25, merge="round_robin")
        retriever = Retriever(
            TwoSides(),
            [item.encode() for item in ITEMS],
            [[t.encode() for t in topics] for topics in TOPICS],
            vectors(),
            config,
        )
        save_retriever(retriever, str(index / "retriever"))
        pq.write_table(pa.table({"item_id": ITEMS, "topics": TOPICS}), index / "items.parquet")
        (index / "index.json").write_text(json.dumps({"serve": "retriever", "items": 12}))
    (index / "note.txt").write_text(fields.pop("content", "one"))
    actions = root / "model/Format-Serving/warm_start/vocabulary/actions.txt"
    actions.parent.mkdir(parents=True, exist_ok=True)
    actions.write_bytes(b"click\nhide\n")
    evaluation = root / "evaluation"
    evaluation.mkdir(exist_ok=True)
    (evaluation / "evaluation.json").write_text('{"model": {"recall@100": 0.25}}')
    tables = str(write_tables(root / "tables"))
    given = {"data_root": tables, "config": {"data": {"root": tables}}, **fields}
    request = PushRequest(
        index_dir=index,
        model_dir=root / "model",
        evaluation_dir=evaluation,
        serving_dir=root / "serving",
        name="demo",
        fields=ManifestFields(**given),
    )
    return push(request, blessed=True).destination
