"""ComiRec-SA and MIND of torch-rechub: its models, its trainer, its negative sampling.

    python -m benchmarks.peers.rechub SPLIT.npz comirec_sa '{"learning_rate": 0.001}'

Runs in the peers' environment. Only what the library does not have is ours: batches cut
from arrays in memory (faster than its row-by-row data set) and the full ranking.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import io
import json
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import MIND, ComirecSA
from torch_rechub.trainers import MatchTrainer
from torch_rechub.utils.match import negative_sample

from benchmarks.peers.ranking import accuracy, target_ranks
from benchmarks.peers.split import Part, PeerSplit, load_split
from benchmarks.peers.stopwatch import Stopwatch

MODELS = ("comirec_sa", "mind")
_LIST_WISE = 2
_USERS_PER_CALL = 1024


@dataclass(frozen=True)
class Settings:
    """How a peer is trained; the defaults are those of the library's own examples.

    Attributes:
      interests: K.
      dim: of the embeddings (16 in the library's examples; 64 as in our models).
      negatives: per example, each example its own.
      popularity: draw them by count ** 0.75, else uniformly.
      learning_rate, weight_decay: of Adam.
      batch_size: examples per step.
      temperature: divides the scores before the library's loss. Its models take a
        temperature but version 0.9.0 never applies it, which is 1.0.
      user_id: the user's id as a feature, as in the library's examples; else one value
        for all users (the models need at least one user feature).
      epochs, patience: at most so many; stop after so many without a better validation.
      seconds: of training at most.
      seed: of everything.
    """

    interests: int = 4
    dim: int = 64
    negatives: int = 3
    popularity: bool = True
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    batch_size: int = 256
    temperature: float = 1.0
    user_id: bool = True
    epochs: int = 14
    patience: int = 6
    seconds: float = 280.0
    seed: int = 1


class Batches:
    """One epoch of training batches, with negatives drawn anew by the library's sampler."""

    def __init__(self, part: Part, items: int, settings: Settings) -> None:
        self._part, self._settings = part, settings
        counts = np.bincount(part.target, minlength=items + 1)[1:]
        order = np.argsort(-counts, kind="stable")
        self._counts = OrderedDict((int(item) + 1, int(counts[item])) for item in order)

    def __len__(self) -> int:
        return -(-len(self._part.target) // self._settings.batch_size)

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        size, part = self._settings.batch_size, self._part
        order = np.random.permutation(len(part.target))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            drawn = negative_sample(
                self._counts, len(rows) * self._settings.negatives, int(self._settings.popularity)
            )
            features = {
                **user_features(part, rows, self._settings),
                "item": torch.from_numpy(part.target[rows]),
                "negatives": torch.from_numpy(np.asarray(drawn).reshape(len(rows), -1)),
            }
            yield features, torch.zeros(len(rows), dtype=torch.long)


def user_features(part: Part, rows: Any, settings: Settings) -> dict[str, torch.Tensor]:
    """Returns the features of users that the models read."""
    user = part.user[rows]
    return {
        "user": torch.from_numpy(user if settings.user_id else np.ones_like(user)),
        "history": torch.from_numpy(part.history[rows]),
    }


def make_model(name: str, users: int, items: int, length: int, settings: Settings) -> Any:
    """Builds a model of the library, as its examples do."""
    dim = settings.dim
    user = [SparseFeature("user", 1 + users if settings.user_id else 2, embed_dim=dim)]
    history = [SequenceFeature("history", 1 + items, dim, pooling="concat", shared_with="item")]
    item = [SparseFeature("item", 1 + items, embed_dim=dim)]
    negatives = [SequenceFeature("negatives", 1 + items, dim, pooling="concat", shared_with="item")]
    parts = (user, history, item, negatives)
    if name == "mind":
        return MIND(*parts, max_length=length, interest_num=settings.interests)
    return ComirecSA(*parts, interest_num=settings.interests)


def make_trainer(model: Any, settings: Settings) -> MatchTrainer:
    """Returns the library's trainer with its list-wise loss."""
    trainer = MatchTrainer(
        model,
        mode=_LIST_WISE,
        optimizer_params={"lr": settings.learning_rate, "weight_decay": settings.weight_decay},
        device="cpu",
    )
    if settings.temperature != 1.0:
        loss = trainer.criterion
        trainer.criterion = lambda scores, label: loss(scores / settings.temperature, label)
    return trainer


def embeddings(
    model: Any, part: Part, items: int, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Returns user embeddings `[examples, K, dim]` and item embeddings `[1 + items, dim]`."""
    model.eval()
    found = []
    with torch.no_grad():
        model.mode = "user"
        for start in range(0, len(part.target), _USERS_PER_CALL):
            rows = np.arange(start, min(start + _USERS_PER_CALL, len(part.target)))
            found.append(model(user_features(part, rows, settings)).numpy())
        model.mode = "item"
        table = model({"item": torch.arange(1 + items)}).numpy()
        model.mode = None
    return np.concatenate(found), table


def evaluate(model: Any, part: Part, items: int, settings: Settings) -> dict[str, float]:
    """Returns the accuracy of a model by full ranking."""
    users, table = embeddings(model, part, items, settings)
    valid = np.ones(users.shape[:2], bool)
    return accuracy(target_ranks(users, valid, table, part.history, part.target))


def train(name: str, split: PeerSplit, settings: Settings) -> dict[str, Any]:
    """Trains a peer; the epoch with the best validation HR@50 is the one that counts.

    Returns:
      Accuracy on the eval split, validation HR@50, epochs, throughput and what ended the
      training.
    """
    np.random.seed(settings.seed)
    torch.manual_seed(settings.seed)
    part = split.parts["train"]
    model = make_model(name, split.users, split.items, part.history.shape[1], settings)
    trainer, watch = make_trainer(model, settings), Stopwatch()
    batches = Batches(part, split.items, settings)
    best, best_epoch, weights, ended = -1.0, 0, copy.deepcopy(model.state_dict()), "epochs"
    for epoch in range(1, settings.epochs + 1):
        with watch.epoch(len(part.target)), contextlib.redirect_stderr(io.StringIO()):
            trainer.train_one_epoch(batches)
        value = evaluate(model, split.parts["validation"], split.items, settings)["hr@50"]
        print(f"{name} epoch {epoch} validation hr@50 {value:.4f}", file=sys.stderr, flush=True)
        if value > best:
            best, best_epoch, weights = value, epoch, copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= settings.patience:
            ended = "patience"
            break
        # The next epoch would not end in time.
        if sum(watch.wall) + watch.wall[-1] > settings.seconds:
            ended = "time"
            break
    model.load_state_dict(weights)
    return {
        **evaluate(model, split.parts["eval"], split.items, settings),
        **watch.figures(),
        "validation_hr@50": best,
        "epochs": len(watch.wall),
        "best_epoch": best_epoch,
        "ended": ended,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "user_cosine": mean_cosine(embeddings(model, split.parts["eval"], split.items, settings)),
    }


def mean_cosine(found: tuple[np.ndarray, np.ndarray]) -> float:
    """Mean cosine between two embeddings of the same user; they are L2-normalised."""
    users = found[0]
    count = users.shape[1]
    if count < 2:
        return 1.0
    total = np.square(users.sum(axis=1)).sum(axis=1)  # sum over all pairs, a slot with itself too
    return float(((total - count) / (count * (count - 1))).mean())


def throughput(name: str, arguments: argparse.Namespace, negatives: int) -> dict[str, Any]:
    """Times the library's training epochs on random examples with full histories."""
    torch.manual_seed(1)
    np.random.seed(1)
    settings = Settings(
        interests=arguments.interests,
        dim=arguments.dim,
        negatives=negatives,
        popularity=False,
        batch_size=arguments.batch_size,
    )
    items, random = arguments.items, np.random.default_rng(1)
    model = make_model(name, 10_000, items, arguments.history, settings)
    trainer = make_trainer(model, settings)
    per_epoch = arguments.steps * settings.batch_size
    part = Part(
        random.integers(1, 10_001, per_epoch),
        random.integers(1, items + 1, (per_epoch, arguments.history)),
        random.integers(1, items + 1, per_epoch),
    )
    watch, until = Stopwatch(), time.perf_counter() + arguments.seconds
    while len(watch.wall) < 2 or time.perf_counter() < until:
        # The draw of negatives is no part of the training step.
        batches = list(Batches(part, items, settings))
        with watch.epoch(per_epoch), contextlib.redirect_stderr(io.StringIO()):
            trainer.train_one_epoch(batches)
    figures = watch.figures()
    return {
        "negatives": negatives,
        "examples_per_s": round(figures["examples_per_s"], 1),
        "examples_per_cpu_s": round(figures["examples_per_cpu_s"], 1),
    }


def throughput_line(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the throughput with the library's own few negatives per example.

    The library draws negatives for every example, ours share them within the batch, so the
    same number costs it far more: that figure stands beside the other, under
    `same_negatives`, and is not the one to compare with.
    """
    own = throughput(name, arguments, Settings().negatives)
    return {
        "name": f"torch-rechub {name}, K = {arguments.interests}",
        **own,
        "same_negatives": throughput(name, arguments, arguments.negatives),
    }


def main() -> None:
    """Command line: prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("split", help="the exported split, or `throughput` for random examples")
    parser.add_argument("model", choices=MODELS, nargs="?", default="comirec_sa")
    parser.add_argument("settings", nargs="?", default="{}", help="JSON of Settings' fields")
    sizes = {"history": 50, "batch_size": 1024, "dim": 64, "items": 20_000, "interests": 7}
    for option, value in {**sizes, "negatives": 1024, "steps": 2}.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=int, default=value)
    parser.add_argument("--seconds", type=float, default=10.0, help="of throughput")
    arguments = parser.parse_args()
    if arguments.split == "throughput":
        print(json.dumps(throughput_line(arguments.model, arguments)))
        return
    settings = Settings(**json.loads(arguments.settings))
    found = train(arguments.model, load_split(Path(arguments.split)), settings)
    print(json.dumps({**found, "settings": dataclasses.asdict(settings)}))


if __name__ == "__main__":
    main()
