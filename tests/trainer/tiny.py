"""A tiny data set taken through the real transform graph, for tests of the trainer."""

import os
import tempfile
from dataclasses import dataclass, field
from types import SimpleNamespace

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from trainer import features, preprocessing
from trainer.config import ModelConfig, TrainerConfig, TransformConfig

TRANSFORM = TransformConfig(
    history_max_items=6, follows_max_topics=4, item_topics_max=3, item_oov_buckets=3
)
ITEMS = [f"item {n}" for n in range(24)]
TOPICS = ["art", "food", "tv shows", "cars"]
DAY = 86_400


def topics_of(item):
    number = ITEMS.index(item)
    return [TOPICS[number % 4]] if number % 5 else []


def raw_spec(featured=False):
    spec = {}
    for name in features.VALUE_FEATURES if featured else ():
        spec[name] = tf.io.VarLenFeature(tf.string)
    for name in features.RAW_FEATURES:
        dtype = tf.int64 if name in features.INT_FEATURES else tf.string
        dense = name in features.DENSE_FEATURES
        spec[name] = tf.io.FixedLenFeature([1], dtype) if dense else tf.io.VarLenFeature(dtype)
    return spec


def example(target, history=(), follows=(), now=100 * DAY, source=None, user="u"):
    """One raw example; `history` holds items, newest first, one day apart."""
    return {
        features.USER_ID: [user],
        features.TIMESTAMP: [now],
        features.HISTORY_ITEM_ID: list(history),
        features.HISTORY_TIMESTAMP: [now - DAY * (n + 1) for n in range(len(history))],
        features.HISTORY_ACTION: ["hide" if n == 3 else "like" for n in range(len(history))],
        features.FOLLOWED_TOPIC: list(follows),
        features.ITEM_ID: [target],
        features.ITEM_TOPICS: topics_of(target) if target in ITEMS else [],
        features.ACTION: ["like"],
        features.SOURCE: ["feed"] if source else [],
        features.SOURCE_TOPIC: [source] if source else [],
        features.SOURCE_TOPIC_DERIVED: [0] if source else [],
    }


def raw_splits(users=60, seed=0):
    """Users who stay inside one topic, so that there is something to learn."""
    random = np.random.default_rng(seed)
    splits = {split: [] for split in features.SPLITS}
    for user in range(users):
        mine = [ITEMS[n] for n in random.permutation(24) if n % 4 == user % 4] + [
            ITEMS[n] for n in random.permutation(24)[:2]
        ]
        follows = [TOPICS[user % 4]] if user % 3 else []
        for place in range(len(mine)):
            split = {len(mine) - 1: "eval", len(mine) - 2: "validation"}.get(place, "train")
            source = follows[0] if follows and follows[0] in topics_of(mine[place]) else None
            splits[split].append(
                example(mine[place], mine[:place][::-1], follows, source=source, user=f"u{user}")
            )
    splits["corpus"] = [{**example(item), features.ACTION: []} for item in ITEMS]
    for row in splits["corpus"]:
        row[features.TIMESTAMP] = [0]
    return splits


@dataclass
class Tiny:
    """Folders of a transformed tiny data set."""

    examples: str
    graph: str
    raw: dict = field(repr=False)

    def output(self):
        return tft.TFTransformOutput(self.graph)

    def fn_args(self, folder, model=None, trainer=None, base_model=None):
        """What TFX hands to `run_fn`, writing below `folder`."""
        model = ModelConfig(**{"embedding_dim": 8, "hidden_units": (8,), **(model or {})})
        defaults = {"batch_size": 32, "epochs": 2, "uniform_negatives": 8, "learning_rate": 0.01}
        trainer = TrainerConfig(**{**defaults, **(trainer or {})})
        folder = str(folder)
        return SimpleNamespace(
            train_files=[f"{self.examples}/Split-train/*"],
            eval_files=[f"{self.examples}/Split-validation/*"],
            transform_graph_path=self.graph,
            serving_model_dir=f"{folder}/Format-Serving",
            model_run_dir=f"{folder}/run",
            base_model=base_model,
            custom_config={
                "model": model.canonical_json(),
                "trainer": trainer.canonical_json(),
                "transform": TRANSFORM.canonical_json(),
                "checkpoint_dir": f"{folder}/checkpoints",
                "code_digest": "0",
            },
        )


def transform(folder, raw=None, config=TRANSFORM, further=None):
    """Analyses raw examples as Transform does, and transforms them by the graph that it wrote.

    Transform itself would load that graph once for each split and stage, which takes as long again.
    """
    raw = raw or raw_splits()
    spec = raw_spec(further is not None)
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    custom = {"transform": config.canonical_json()}
    if further is not None:
        custom["features"] = further.canonical_json()
    graph, examples = os.path.join(folder, "graph"), os.path.join(folder, "examples")
    options = beam.options.pipeline_options.PipelineOptions([])
    with (
        beam.Pipeline("FnApiRunner", options=options) as pipeline,
        # Else sizes are tried out from 1 upwards, a conversion for every few rows.
        tft_beam.Context(temp_dir=tempfile.mkdtemp(dir=folder), desired_batch_size=1000),
    ):
        analysed = pipeline | beam.Create(raw["train"] + raw["corpus"])
        function = (analysed, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing.preprocessing_fn(inputs, custom)
        )
        _ = function | tft_beam.WriteTransformFn(graph)
    output = tft.TFTransformOutput(graph)
    layer, coder = (
        output.transform_features_layer(),
        tft.coders.ExampleProtoCoder(output.transformed_metadata.schema),
    )
    encode = tft.coders.ExampleProtoCoder(metadata.schema).encode
    for split, rows in raw.items():
        os.makedirs(f"{examples}/Split-{split}")
        path = f"{examples}/Split-{split}/transformed_examples-00000-of-00001.gz"
        with tf.io.TFRecordWriter(path, "GZIP") as writer:
            given = tf.io.parse_example([encode(row) for row in rows], spec)
            columns = {name: values.numpy() for name, values in layer(given).items()}
            for place in range(len(rows)):
                row = {name: values[place] for name, values in columns.items()}
                writer.write(coder.encode(row))
    return Tiny(examples, graph, raw)
