"""Training throughput: steps of several models in turn, each in a fresh process.

    python -m benchmarks.training --models two_tower dcm dcm_cr --peer "cmd"

Examples are synthetic and in memory, as Transform would give them: a Zipf catalogue,
full histories, the model's own `train_step` with Adam. Per model: the median over the
steps after a warm-up, then the median over the rounds. `per CPU-second` counts the CPU
time of all threads, which a busy machine disturbs less than the clock. A peer is a
command that prints one JSON line with name, examples_per_s and examples_per_cpu_s.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fresh import fresh

MODELS = ("two_tower", "dcm", "dcm_cr")
_DISTINCT_BATCHES = 8


@dataclass(frozen=True)
class TrainingLoad:
    """What every model is given.

    Attributes:
      items: catalogue size.
      history: history items of every example.
      batch: examples per step.
      dim: embedding dimension.
      negatives: uniform negatives per step.
      interests: K, implicit slots.
      explicit: explicit slots.
      association: how slots and items meet in the loss.
      lazy_min_rows: tables of so many rows are updated by row, smaller ones by dense Adam.
      steps: measured steps.
      warm_up: steps before them.
    """

    items: int = 20_000
    history: int = 50
    batch: int = 1024
    dim: int = 64
    negatives: int = 1024
    interests: int = 7
    explicit: int = 5
    association: str = "best_slot"
    lazy_min_rows: int = 50_000
    steps: int = 30
    warm_up: int = 5


def zipf_shares(items: int, exponent: float = 1.0) -> np.ndarray:
    """Returns float64 `[items]`, the share of the item of each rank."""
    weights = 1.0 / np.arange(1, items + 1) ** exponent
    return weights / weights.sum()


def make_examples(load: TrainingLoad, topics: np.ndarray, rows: int) -> dict[str, np.ndarray]:
    """Draws transformed examples.

    Args:
      load: sizes.
      topics: [item rows, item topics] topic indices of each item index, 0 for none.
      rows: number of examples.

    Returns:
      int64 `[rows, width]` by transformed name.
    """
    from trainer import features

    random = np.random.default_rng(1)
    shares = zipf_shares(load.items)
    target = 1 + random.choice(load.items, size=(rows, 1), p=shares)
    history = 1 + random.choice(load.items, size=(rows, load.history), p=shares)
    item_topics = topics[target[:, 0]]
    columns = {
        features.TIMESTAMP: np.zeros((rows, 1)),
        features.HISTORY_ITEM_ID: history,
        features.HISTORY_TIMESTAMP: np.sort(random.integers(1, 32, history.shape), axis=1),
        features.HISTORY_ACTION: random.integers(1, 3, history.shape),
        features.FOLLOWED_TOPIC: random.integers(1, topics.max() + 1, (rows, 20)),
        features.ITEM_ID: target,
        features.ITEM_TOPICS: item_topics,
        features.SOURCE_TOPIC: np.where(random.random((rows, 1)) < 0.3, item_topics[:, :1], 0),
        features.SOURCE_TOPIC_DERIVED: np.zeros((rows, 1)),
    }
    return {features.transformed_name(n): c.astype(np.int64) for n, c in columns.items()}


def make_model(name: str, load: TrainingLoad, topics: np.ndarray) -> Any:
    """Builds and compiles a model on a catalogue without a data set."""
    from trainer.config import ModelConfig, TrainerConfig, TransformConfig
    from trainer.model import RetrievalModel
    from trainer.optimizer import LazyAdam
    from trainer.vocabularies import Vocabularies

    transform = TransformConfig(history_max_items=load.history)
    vocabularies = Vocabularies(
        items=[b"item %d" % number for number in range(load.items)],
        topics=[b"topic %d" % number for number in range(int(topics.max()))],
        actions=[b"like", b"save", b"click"],
        item_counts=1.0 + 1e6 * zipf_shares(load.items),
        item_oov_buckets=transform.item_oov_buckets,
        topic_oov_buckets=transform.topic_oov_buckets,
    )
    model = RetrievalModel(
        ModelConfig(
            name=name,
            embedding_dim=load.dim,
            num_interests=load.interests,
            explicit_slots=load.explicit,
            association=load.association,
        ),
        TrainerConfig(batch_size=load.batch, uniform_negatives=load.negatives),
        transform,
        vocabularies,
        topics,
    )
    model.compile(optimizer=LazyAdam(1e-3, min_rows=load.lazy_min_rows))
    return model


def make_topics(load: TrainingLoad) -> np.ndarray:
    """Draws one to three of 500 topics per item, int32 `[item rows, 10]`, 0 for none."""
    from trainer.config import TransformConfig

    random = np.random.default_rng(0)
    rows = 1 + load.items + TransformConfig().item_oov_buckets
    table = np.zeros((rows, TransformConfig().item_topics_max), np.int32)
    table[1 : 1 + load.items, 0] = random.integers(1, 501, load.items)
    for place, share in ((1, 0.6), (2, 0.3)):
        drawn = random.integers(1, 501, load.items)
        table[1 : 1 + load.items, place] = np.where(random.random(load.items) < share, drawn, 0)
    return table


def measure(name: str, load: TrainingLoad) -> dict[str, Any]:
    """Times the training steps of one model in this process."""
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(1)
    topics = make_topics(load)
    examples = make_examples(load, topics, _DISTINCT_BATCHES * load.batch)
    model = make_model(name, load, topics)
    model.build_from({n: tf.io.FixedLenFeature(c.shape[1:], tf.int64) for n, c in examples.items()})
    batches = tf.data.Dataset.from_tensor_slices(examples).batch(load.batch).cache().repeat()
    iterator = iter(batches.prefetch(2))
    step = model.make_train_function()
    for _ in range(max(load.warm_up, _DISTINCT_BATCHES)):
        step(iterator)
    wall, cpu = [], []
    for _ in range(load.steps):
        started, used = time.perf_counter(), time.process_time()
        loss = float(step(iterator)["loss"])
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    return {
        "name": name,
        "examples_per_s": load.batch / statistics.median(wall),
        "examples_per_cpu_s": load.batch / statistics.median(cpu),
        "step_ms": 1e3 * statistics.median(wall),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "loss": loss,
    }


def middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds of one model; texts as in the first."""
    return {
        key: statistics.median(r[key] for r in rounds) if isinstance(value, float) else value
        for key, value in rounds[0].items()
    }


def table(rows: list[dict[str, Any]], baseline: str) -> str:
    """Returns a Markdown table, with ratios to one of the rows."""
    base = next((row for row in rows if row["name"] == baseline), rows[0])
    lines = [
        f"| model | examples/s | per CPU-second | x {base['name']}, clock | "
        f"x {base['name']}, CPU | step ms | peak MB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        ratios = [row[key] / base[key] for key in ("examples_per_s", "examples_per_cpu_s")]
        rest = [f"{row[key]:,.0f}" if key in row else "" for key in ("step_ms", "peak_mb")]
        lines.append(
            f"| {row['name']} | {row['examples_per_s']:,.0f} | {row['examples_per_cpu_s']:,.0f} | "
            f"{ratios[0]:.2f} | {ratios[1]:.2f} | {rest[0]} | {rest[1]} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models", nargs="+", default=list(MODELS), help="the first is compared to"
    )
    parser.add_argument("--peer", action="append", default=[], help="command of a peer program")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes per model, in turn")
    parser.add_argument("--json", help="also write the results there")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    for field, value in asdict(TrainingLoad()).items():
        parser.add_argument(f"--{field.replace('_', '-')}", type=type(value), default=value)
    arguments = parser.parse_args()
    load = TrainingLoad(**{field: getattr(arguments, field) for field in asdict(TrainingLoad())})
    if arguments.worker:
        print(json.dumps(measure(arguments.worker, load)))
        return
    given = [f"--{field.replace('_', '-')}={value}" for field, value in asdict(load).items()]
    worker = [sys.executable, "-m", "benchmarks.training", *given, "--worker"]
    commands = [[*worker, name] for name in arguments.models]
    commands += [shlex.split(peer) for peer in arguments.peer]
    rounds = [[fresh(command) for command in commands] for _ in range(arguments.rounds)]
    rows = [middle(list(of_one)) for of_one in zip(*rounds, strict=True)]
    print(table(rows, arguments.models[0]))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"load": asdict(load), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
