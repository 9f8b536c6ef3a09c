"""A small world in which a fake model is good: targets lie near the newest history item."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np

from components.config import IndexConfig
from components.example_gen.attributes import FOLDER
from components.index_builder.build import IndexPaths, build_index
from tests.components.raw_examples import corpus_item, example, write_split
from tests.shared import once
from tests.trainer.retrieval.fake_model import FakeModel, save_fake_model
from trainer.config import RetrievalConfig

ITEMS = 80
TOPICS = [f"t{i}" for i in range(6)]
IDS = [f"i{i}" for i in range(ITEMS)]
ITEM_TOPICS = [[TOPICS[i % 6], TOPICS[i % 4]] if i % 9 else [] for i in range(ITEMS)]


def fake_model(seed: int = 0) -> FakeModel:
    return FakeModel([i.encode() for i in IDS], [t.encode() for t in TOPICS], seed=seed)


def make_examples(count: int, seed: int = 0, popular: bool = False) -> list[dict]:
    """Examples for `fake_model(0)`: targets are near the newest item, or popular instead."""
    rng = np.random.default_rng(seed)
    vectors = fake_model().item_vectors.numpy()[:ITEMS]
    near = np.argsort(-(vectors @ vectors.T), axis=1)[:, 1:9]
    rows = []
    for number in range(count):
        history = rng.permutation(ITEMS)[: rng.integers(0, 6)]
        if popular or not len(history):
            target = int(rng.integers(0, 4))
        else:
            target = int(rng.choice(near[history[0]]))
        history = [IDS[i] for i in history if i != target]
        follows = [TOPICS[t] for t in rng.permutation(6)[: rng.integers(0, 4)]]
        rows.append(example(f"u{number % (count // 2 + 1)}", IDS[target], history, follows))
    return rows


def write_world(root: Path, model_seed: int = 0, popular: bool = False, n_eval: int = 400) -> None:
    """Writes `<root>/model` and `<root>/examples`."""
    saved, _ = once(f"fake-model-{model_seed}", partial(_save_model, model_seed))
    shutil.copytree(saved / "model", root / "model")
    write_split(
        root / "examples",
        "corpus",
        [corpus_item(i, t) for i, t in zip(IDS, ITEM_TOPICS, strict=True)],
    )
    write_split(root / "examples", "train", make_examples(300, 1, popular))
    write_split(root / "examples", "validation", make_examples(60, 2, popular))
    write_split(root / "examples", "eval", make_examples(n_eval, 3, popular))


def _save_model(seed: int, folder: Path) -> None:
    save_fake_model(fake_model(seed), str(folder / "model"))


def build(root: Path, name: str = "index", kind: str = "exact", **retrieval) -> Path:
    """Builds `<root>/<name>` from the world at `root`.

    Where two worlds differ in nothing that an index is made of, neither do their indexes: one
    is built in a test run and copied.
    """
    made_of = hashlib.sha256(json.dumps([kind, retrieval], sort_keys=True).encode())
    # An index is made of everything but the examples that the model is measured on.
    paths = [path for path in root.glob("model/**/*") if path.is_file()]
    for part in ("Split-corpus", "Split-train", "Split-validation", FOLDER):
        paths += root.glob(f"examples/{part}/*")
    for path in sorted(paths):
        made_of.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())

    def make(folder: Path) -> None:
        _build(root, folder / "index", kind, retrieval)

    built, _ = once(f"index-{made_of.hexdigest()}", make)
    return Path(shutil.copytree(built / "index", root / name, dirs_exist_ok=True))


def _build(root: Path, index: Path, kind: str, retrieval: dict) -> Path:
    build_index(
        IndexPaths(str(root / "model"), str(root / "examples"), str(index)),
        IndexConfig(kind=kind, recall_target=0.9),
        RetrievalConfig(**{"num_results": 20, **retrieval}),
    )
    return index


def publish(index: Path, bundle: Path) -> Path:
    """Copies an index as the pusher lays it out: the stock SavedModel at the top."""
    shutil.copytree(index, bundle, ignore=shutil.ignore_patterns("retriever"))
    shutil.copytree(index / "retriever", bundle, dirs_exist_ok=True)
    return bundle
