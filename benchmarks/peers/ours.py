"""One of our models, trained on the same examples and ranked by the same NumPy code.

    python -m benchmarks.peers.ours benchmarks/peers/amazon-beauty.yaml WORK_DIR SPLIT.npz dcm

Training is `trainer.fit.fit`, as in the pipeline; embeddings come from the functions that
are exported for serving, asked with raw features.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import export
from benchmarks.peers.ranking import accuracy, target_ranks
from benchmarks.peers.split import Part, load_split
from benchmarks.peers.stopwatch import Stopwatch
from components.examples_io import read_split
from components.requests import USER_COLUMNS, user_request
from pipeline import environment
from pipeline.config import RunConfig
from research.experiment.prepare import Prepared
from trainer import features
from trainer.config import ModelConfig

_ITEMS_PER_CALL = 4096


def timed_fit(config: RunConfig, data: Prepared, examples: int) -> tuple[Any, Stopwatch]:
    """Trains and times the epochs without validation, export and reading of vocabularies.

    Args:
      config: the run configuration.
      data: examples and transform graph.
      examples: of the training split.
    """
    from trainer.fit import TrainingJob, fit
    from trainer.model import RetrievalModel

    watch, plain_fit = Stopwatch(), RetrievalModel.fit

    def epoch(model: RetrievalModel, *arguments: Any, **options: Any) -> Any:
        with watch.epoch(examples):
            return plain_fit(model, *arguments, **options)

    RetrievalModel.fit = epoch
    try:
        with tempfile.TemporaryDirectory(prefix="tessera-peers-") as folder:
            job = TrainingJob(
                examples=[f"{data.transformed}/Split-train/*"],
                transform_graph=data.transform_graph,
                model=config.model,
                trainer=config.trainer,
                transform=config.transform,
                checkpoint_dir=f"{folder}/checkpoints",
                log_dir=f"{folder}/log",
            )
            return fit(job), watch
    finally:
        RetrievalModel.fit = plain_fit


def user_embeddings(module: Any, examples: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns embeddings `[examples, slots, dim]` of the eval split and which slots count."""
    import tensorflow as tf

    embeddings, valid = [], []
    for batch in read_split(examples, features.EVAL_SPLIT, list(USER_COLUMNS), batch_rows=1024):
        request = {name: tf.constant(value) for name, value in user_request(batch).items()}
        slots = module.embed_user(**request)
        embeddings.append(slots["embeddings"].numpy())
        valid.append(slots["slot_valid"].numpy())
    return np.concatenate(embeddings), np.concatenate(valid)


def item_embeddings(module: Any, catalogue: export.PeerItems) -> np.ndarray:
    """Returns item embeddings `[1 + items, dim]`; row 0 is zero."""
    import tensorflow as tf

    width = max(map(len, catalogue.topics))
    topics = np.full((len(catalogue.ids), width), b"", object)
    for row, names in enumerate(catalogue.topics):
        topics[row, : len(names)] = names
    parts = []
    for start in range(0, len(catalogue.ids), _ITEMS_PER_CALL):
        rows = slice(start, start + _ITEMS_PER_CALL)
        ids = tf.constant(catalogue.ids[rows])
        found = module.embed_items(item_id=ids, item_topics=tf.constant(topics[rows]))
        parts.append(found["embeddings"].numpy())
    vectors = np.concatenate(parts)
    return np.concatenate([np.zeros_like(vectors[:1]), vectors])


def mean_cosine(users: np.ndarray, valid: np.ndarray) -> float:
    """Mean cosine between two valid embeddings of the same user; they are L2-normalised."""
    kept = users * valid[..., None]
    count = valid.sum(axis=1)
    total = np.square(kept.sum(axis=1)).sum(axis=1) - count
    pairs = count * (count - 1)
    several = pairs > 0
    return float((total[several] / pairs[several]).mean()) if several.any() else 1.0


def train(config: RunConfig, data: Prepared, train_examples: int, eval_part: Part) -> dict:
    """Trains and ranks one of our models; returns the same figures as for a peer."""
    from trainer.export import EmbeddingModule

    trained, watch = timed_fit(config, data, train_examples)
    module = EmbeddingModule(trained.model, trained.transform_output)
    users, valid = user_embeddings(module, data.examples)
    items = item_embeddings(module, export.read_catalogue(data.examples))
    best = max(trained.history, key=lambda record: record["val_recall@50"])
    epochs = len(trained.history)
    ranks = target_ranks(users, valid, items, eval_part.history, eval_part.target)
    return {
        **accuracy(ranks),
        **watch.figures(),
        "validation_hr@50": best["val_recall@50"],
        "epochs": epochs,
        "best_epoch": best["epoch"],
        "ended": "epochs" if epochs == config.trainer.epochs else "patience",
        "parameters": int(sum(np.prod(w.shape) for w in trained.model.trainable_weights)),
        "user_cosine": mean_cosine(users, valid),
    }


def run_config(conf: Path, work_dir: str, model: str, epochs: int | None) -> RunConfig:
    """Returns the run configuration with another model, seed 1, started from nothing."""
    config = export.experiment(conf, work_dir).data_config("peers")
    trainer: dict[str, Any] = {"seed": 1, "warm_start": False}
    if epochs is not None:
        trainer["epochs"] = epochs
    return config.model_copy(
        update={
            "model": ModelConfig.model_validate({**config.model.model_dump(), "name": model}),
            "trainer": config.trainer.model_copy(update=trainer),
        }
    )


def main() -> None:
    """Command line: prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("conf", type=Path)
    parser.add_argument("work_dir")
    parser.add_argument("split", type=Path)
    parser.add_argument("model")
    parser.add_argument("--epochs", type=int)
    arguments = parser.parse_args()
    environment.prepare()
    split = load_split(arguments.split)
    config = run_config(arguments.conf, arguments.work_dir, arguments.model, arguments.epochs)
    data = export.prepare_data(export.experiment(arguments.conf, arguments.work_dir))
    found = train(config, data, len(split.parts["train"].target), split.parts["eval"])
    settings = {"model": arguments.model, "epochs": config.trainer.epochs}
    print(json.dumps({**found, "settings": settings}))


if __name__ == "__main__":
    main()
