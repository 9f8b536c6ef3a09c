"""A small data set with finished runs on disk, made without training anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.evaluator.examples import read_eval_examples
from components.evaluator.items import Items
from core.files import write_json
from pipeline.config import RunConfig
from research.experiment.config import DatasetConfig, ExperimentConfig
from research.experiment.jobs import DatasetRuns
from tests.components.raw_examples import example, write_split
from trainer import features

ITEMS, TOPICS, EXAMPLES, SLOTS = 40, 6, 60, 3


def catalogue() -> Items:
    ids = [f"i{n}".encode() for n in range(ITEMS)]
    return Items(ids, [[f"t{n % TOPICS}".encode()] if n % 7 else [] for n in range(ITEMS)])


def make_examples(root: Path, count: int = EXAMPLES, seed: int = 0) -> None:
    """Writes train and eval; users have one to three examples, half of them with follows."""
    generator = np.random.default_rng(seed)
    for split, size in (("train", 3 * count), ("eval", count)):
        rows = []
        for n in range(size):
            history = [f"i{i}" for i in generator.permutation(ITEMS)[: generator.integers(0, 14)]]
            follows = [f"t{t}" for t in generator.permutation(TOPICS)[: n % 3]]
            row = example(f"u{n // 2}", f"i{generator.integers(ITEMS)}", history, follows)
            if n % 4 == 1:
                row[features.SOURCE_TOPIC] = [f"t{n % TOPICS}"]
                row[features.SOURCE_TOPIC_DERIVED] = [int(n % 8 == 5)]
            rows.append(row)
        write_split(root, split, rows)


def write_run(
    folder: Path,
    model: str,
    seed: int,
    count: int,
    n: int = 20,
    variants: tuple[str, ...] = ("default",),
    asked: dict[str, np.ndarray] | None = None,
    slots: bool = True,
) -> Path:
    """Writes a finished run whose lists are random, without duplicates, partly padded."""
    generator = np.random.default_rng(sum(map(ord, model)) + 1000 * seed)
    folder.mkdir(parents=True, exist_ok=True)
    for variant in variants:
        chosen = (asked or {}).get(variant, np.arange(count))
        size = len(chosen)
        lists = np.stack([generator.permutation(ITEMS)[:n] for _ in range(size)]).astype(np.int32)
        slot = generator.integers(0, SLOTS, lists.shape).astype(np.int8)
        lists[:, n - 2 :][generator.random((size, 2)) < 0.5] = -1
        slot[lists < 0] = -1
        kind = np.where(slot < 0, -1, slot == SLOTS - 1).astype(np.int8)
        found_by = np.where(slot < 0, 0, 1 << np.maximum(slot, 0)) | np.where(
            (generator.random(lists.shape) < 0.3) & (lists >= 0), 1, 0
        )
        np.savez_compressed(
            folder / f"{variant}.npz",
            lists=lists,
            slot=slot,
            kind=kind,
            found_by=found_by.astype(np.int64),
            slot_valid=np.ones((size, SLOTS), bool),
            cluster_sizes=np.ones((size, SLOTS), np.int32),
            asked=chosen.astype(np.int32),
        )
    vectors = generator.normal(size=(ITEMS, 8)).astype(np.float32)
    np.savez_compressed(folder / "items.npz", embeddings=vectors)
    if slots:
        first = min(count, 40)
        kind = np.tile(np.array([0, 0, 1], np.int32), (first, 1))
        np.savez_compressed(
            folder / "slots.npz",
            embeddings=generator.normal(size=(first, SLOTS, 8)).astype(np.float16),
            conditions=generator.normal(size=(30, SLOTS - 1, 8)).astype(np.float16),
            condition_valid=generator.random((30, SLOTS - 1)) < 0.9,
            slot_valid=np.ones((first, SLOTS), bool),
            slot_kind=kind,
            history_slot=generator.integers(-1, 2, (first, 12)).astype(np.int32),
        )
    figures = {"train_s": 3.5, "parameters": 1000, "examples_per_s": 900.0 + seed}
    write_json(
        folder / "run.json",
        {
            "model": model,
            "seed": seed,
            "figures": figures,
            "history": [],
            "variants": {name: {"eval_s": 0.5} for name in variants},
        },
    )
    return folder


def fake_config(root: Path, **changes) -> ExperimentConfig:
    tree = {
        "name": "fake",
        "title": "A fake experiment",
        "claims": ["H1", "H17"],
        "minutes": 1,
        "search_budget": "nothing was searched",
        "seeds": [1, 2],
        "baseline": "one",
        "work_dir": str(root / "work"),
        "num_results": 20,
        "datasets": {"toy": {"conf": "toy.yaml"}},
        "models": {
            "one": {"note": "the baseline"},
            "two": {"variants": ["source"], "note": "another"},
        },
        "variants": {"source": {"ask": "source_topic", "note": "asked by source"}},
        "unions": {
            "both": {"parts": ["one", "two"], "shares": [0.8, 0.2]},
            "seeds": {"parts": ["one", "one"], "seed_offsets": [0, 1]},
        },
    }
    return ExperimentConfig.model_validate(tree | changes)


def fake_dataset(root: Path, config: ExperimentConfig, count: int = EXAMPLES) -> DatasetRuns:
    """Writes examples and every run of the experiment; returns what the engine hands over."""
    uri, items = root / "examples", catalogue()
    make_examples(uri, count)
    extra = (features.USER_ID, features.SOURCE_TOPIC, features.SOURCE_TOPIC_DERIVED)
    examples = read_eval_examples(str(uri), items, 10_000, 1, extra)
    runs = {}
    by_source = np.arange(1, count, 4)
    by_source = by_source[by_source % 8 != 5]
    for model in config.models_of("toy"):
        for seed in config.seeds_of("toy"):
            runs[model, seed] = write_run(
                root / "runs" / f"{model}-{seed}",
                model,
                seed,
                count,
                variants=config.variants_of(model),
                asked={"source": by_source},
            )
    return DatasetRuns(
        name="toy",
        dataset=DatasetConfig(conf="toy.yaml"),
        run=RunConfig.model_validate({"data": {"root": str(root)}}),
        examples_uri=str(uri),
        items=items,
        examples=examples,
        runs=runs,
    )
