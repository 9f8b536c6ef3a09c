"""Small bundles whose versions share no item id, so that an answer tells who gave it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.bundle.manifest import FileEntry, read_manifest, write_manifest
from components.pusher.push import PushRequest, push
from core.digest import file_sha256
from tests.trainer.retrieval.fake_model import FakeModel
from trainer.config import RetrievalConfig
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.search import ScannParameters, ScannSearch

NAME = "demo"
ITEMS = 40
TOPICS = ["t0", "t1", "t2"]
RESULTS = 8
#: Prefix of the item ids of each version; neighbours differ.
PREFIXES = {1: "a", 2: "b", 3: "a"}


def ids(version: int, count: int = ITEMS) -> list[str]:
    return [f"{PREFIXES[version]}{n}" for n in range(count)]


def publish(root: Path, version: int, scann: bool = False) -> Path:
    """Publishes the next version below `root/serving/demo`; its items carry the prefix."""
    index = root / f"index-{PREFIXES[version]}"
    if not index.exists():
        _save(index, version, scann)
    (root / "model" / "Format-Serving" / "warm_start").mkdir(parents=True, exist_ok=True)
    (root / "model" / "Format-Serving" / "warm_start" / "weights.npz").write_bytes(b"weights")
    (root / "evaluation").mkdir(exist_ok=True)
    (root / "evaluation" / "evaluation.json").write_text('{"model": {"recall@100": 0.25}}')
    request = PushRequest(
        index_dir=index,
        model_dir=root / "model",
        evaluation_dir=root / "evaluation",
        serving_dir=root / "serving",
        name=NAME,
    )
    return Path(push(request, blessed=True).destination)


def _save(index: Path, version: int, scann: bool) -> None:
    """Writes what the index builder would."""
    count = 200 if scann else ITEMS
    items = ids(version, count)
    topics = [[TOPICS[n % 3]] for n in range(count)]
    model = FakeModel([i.encode() for i in items], [t.encode() for t in TOPICS], seed=version)
    vectors = model.item_vectors.numpy()[:count]
    config = RetrievalConfig(num_results=RESULTS, explicit_share=0.25, merge="round_robin")

    def save(name: str, **options) -> None:
        carried = [[t.encode() for t in each] for each in topics]
        encoded = [i.encode() for i in items]
        retriever = Retriever(model, encoded, carried, vectors, config, **options)
        save_retriever(retriever, str(index / name))

    save("retriever")
    if scann:
        parameters = ScannParameters(num_leaves=8, leaves_to_search=8, reorder=100)
        save("retriever_scann", searcher=lambda _: ScannSearch.build(vectors, parameters))
    pq.write_table(pa.table({"item_id": items, "topics": topics}), index / "items.parquet")
    np.save(index / "item_embeddings.npy", vectors)
    serve = "retriever_scann" if scann else "retriever"
    (index / "index.json").write_text(json.dumps({"serve": serve, "items": count}))


def place(source: Path, model_dir: Path) -> Path:
    """Makes a published version appear in another folder, in one step as the pusher does."""
    model_dir.mkdir(parents=True, exist_ok=True)
    staging = model_dir / f".tmp-{source.name}"
    shutil.copytree(source, staging)
    target = model_dir / source.name
    os.rename(staging, target)
    return target


def reseal(folder: Path) -> None:
    """Writes the manifest anew, so that a test's change of a bundle passes for published."""
    old = read_manifest(folder)
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "manifest.json"]
    files = {
        path.relative_to(folder).as_posix(): FileEntry(
            sha256=file_sha256(path), bytes=path.stat().st_size
        )
        for path in paths
    }
    write_manifest(folder, old.model_copy(update={"files": files}))
