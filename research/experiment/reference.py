"""What is computed once per data set: floors, new targets, counts; kept beside the runs."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.evaluator import metrics
from components.evaluator.evaluate import finite_json
from components.evaluator.examples import EvalExamples
from components.evaluator.floors import Floors
from components.evaluator.items import Items
from components.evaluator.limits import rank_limits, read_truth
from components.evaluator.training_log import read_training_log
from components.examples_io import padded, read_split, split_files
from core.errors import DataError
from core.files import read_json, write_json
from research.experiment.asking import asked_examples
from research.experiment.jobs import DatasetRuns
from research.experiment.measures import KS
from research.experiment.population import Population, make_population
from trainer import features

#: Raise it when the content of the file changes.
_VERSION = 2
_BATCH = 512
_SPLITS = (features.TRAIN_SPLIT, features.VALIDATION_SPLIT, features.EVAL_SPLIT)


@dataclasses.dataclass(frozen=True)
class Reference:
    """What every row of a data set stands beside.

    Attributes:
      population: the eval examples.
      counts: `users`, `items`, `topics`, `train_examples`, `eval_examples`, `eval_users`,
        `history_mean`, `history_median` (items), `follows_share`.
      floors: metric by floor.
      floors_source_topic: the same, asked by the logged source topic; empty unless wanted.
      limits: the same of `oracle` and `feasible`; empty but for generated data.
    """

    population: Population
    counts: dict[str, float]
    floors: dict[str, dict[str, float]]
    floors_source_topic: dict[str, dict[str, float]]
    limits: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)


def read_reference(runs: DatasetRuns, folder: Path, by_source: bool) -> Reference:
    """Computes the reference of a data set, or reads what an earlier call kept.

    Args:
      runs: of the data set.
      folder: where the files of all data sets are kept.
      by_source: whether floors are wanted that are asked by source topic.
    """
    examples, items = runs.examples, runs.items
    path = folder / f"{runs.name}-{_digest(runs)}.json"
    known: dict[str, Any] = read_json(path) if path.exists() else {}
    wanted = by_source and features.SOURCE_TOPIC in examples.table.column_names
    if not known or (wanted and "floors_source_topic" not in known):
        known = _compute(runs, wanted)
        write_json(path, finite_json(known))
    new = np.zeros(len(examples), bool)
    new[np.asarray(known["new_targets"], np.int64)] = True
    population = make_population(examples, items, new)
    return Reference(
        population=population,
        counts=known["counts"] | _population_counts(population),
        floors=known["floors"],
        floors_source_topic=known.get("floors_source_topic", {}) if by_source else {},
        limits=known.get("limits", {}),
    )


def _compute(runs: DatasetRuns, by_source: bool) -> dict[str, Any]:
    uri, examples, items = runs.examples_uri, runs.examples, runs.items
    log = read_training_log(uri, items)
    target = examples.target
    new = ~((target >= 0) & log.seen[np.maximum(target, 0)])
    floors = Floors(log, items, max(KS))
    users: set[bytes] = set()
    sizes = dict.fromkeys(_SPLITS, 0)
    for split in _SPLITS:
        for batch in _user_batches(uri, split):
            names = padded(batch, features.USER_ID, 1, b"")[:, 0]
            users.update(pd.unique(names))
            sizes[split] += len(names)
    found = {
        "counts": {
            "users": len(users),
            "items": len(items),
            "topics": int((np.asarray(items.topics.sum(axis=0)).ravel() > 0).sum()),
            "train_examples": sizes[features.TRAIN_SPLIT],
        },
        "new_targets": np.flatnonzero(new).tolist(),
        "floors": _floor_figures(floors, examples, items),
    }
    truth = read_truth(f"{runs.run.data.root}/truth", items)
    if truth is not None:
        lists = rank_limits(truth, log, examples, items, max(KS), _BATCH)
        found["limits"] = _figures(lists, examples, items)
    if by_source:
        asked, _ = asked_examples(examples, "source_topic")
        found["floors_source_topic"] = _floor_figures(floors, asked, items) if len(asked) else {}
    return found


def _floor_figures(
    floors: Floors, examples: EvalExamples, items: Items
) -> dict[str, dict[str, float]]:
    return _figures(floors.rank(examples, _BATCH), examples, items)


def _figures(
    lists: dict[str, np.ndarray], examples: EvalExamples, items: Items
) -> dict[str, dict[str, float]]:
    return {
        name: metrics.summarise(found, examples.target, items.topics, KS)
        for name, found in lists.items()
    }


def _user_batches(uri: str, split: str) -> Any:
    try:
        split_files(uri, split)
    except DataError:  # a data set may do without validation
        return
    yield from read_split(uri, split, [features.USER_ID])


def _population_counts(population: Population) -> dict[str, float]:
    length = population.history_length
    return {
        "eval_examples": len(population),
        "eval_users": len(np.unique(population.users)),
        "history_mean": float(length.mean()) if len(length) else 0.0,
        "history_median": float(np.median(length)) if len(length) else 0.0,
        "follows_share": float((np.diff(population.follows.indptr) > 0).mean())
        if len(length)
        else 0.0,
    }


def _digest(runs: DatasetRuns) -> str:
    """Returns a digest of the examples' files, the sample and the catalogue."""
    digest = hashlib.sha256(f"{_VERSION} {runs.examples_uri} {len(runs.items)} {KS}".encode())
    for split in _SPLITS:
        for path in sorted((Path(runs.examples_uri) / f"Split-{split}").glob("*.parquet")):
            state = path.stat()
            digest.update(f"{path.name} {state.st_size} {state.st_mtime_ns}".encode())
    digest.update(np.ascontiguousarray(runs.examples.target).tobytes())
    return digest.hexdigest()[:16]
