"""A published bundle with odd ids, titles and a sample of requests, and a server for it."""

from __future__ import annotations

import atexit
import csv
import functools
import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.bundle.manifest import FileEntry, read_manifest, write_manifest
from components.pusher.push import ManifestFields, PushRequest, push
from core.digest import file_sha256
from serving.page.app import Page
from serving.page.sample import SCHEMA
from serving.server.engine import Engine
from serving.server.http import HttpServer, create_app
from serving.server.source import ModelFolder
from tests.trainer.retrieval.fake_model import FakeModel, save_fake_model
from trainer.config import RetrievalConfig
from trainer.retrieval.filters import Attributes
from trainer.retrieval.retriever import Retriever, save_retriever

#: Ids, titles and topics that pages like to break on.
SCRIPT = "<script>window.broken=1</script>"
IMAGE = '"><img src=x onerror="window.broken=1">'
ODD = [
    SCRIPT,
    IMAGE,
    "a&amp;b",
    'it\'s "quoted"',
    "😀é",
    "line\nbreak",
    "007",
    "a/b?c#d%20",
    "&lt;",
]
TOPICS = ["art", "cars", "<b>bold</b>", "films & co", "🎬", "alone"]
ITEMS = [*ODD, *(f"i{n}" for n in range(40))]
ITEM_TOPICS = [[TOPICS[n % 5], TOPICS[(n // 3) % 3]] for n in range(len(ITEMS))]
ITEM_TOPICS[-1] = ["alone"]
TITLES = {f"i{n}": f"Title of {n}" for n in range(0, 40, 2)} | {"i1": "<em>It & “they”</em> 😀"}
NOW = 1_700_000_000


def catalogue() -> dict[str, list[str]]:
    return {item: list(dict.fromkeys(t)) for item, t in zip(ITEMS, ITEM_TOPICS, strict=True)}


def requests() -> list[dict]:
    """Rows of `requests.parquet`: plain, odd, new and repeated users."""
    return [
        row("plain", ["i3", "i4", "i3", "i8"], ["art"]),
        row("two topics", ["i5"], ["cars", "<b>bold</b>"]),
        row(SCRIPT, [SCRIPT, IMAGE, "a&amp;b"], ["films & co"]),
        row("plain", ["i3"], [], now=NOW - 100),
        row("new", [], []),
        *(row(f"u{n}", [f"i{n}", f"i{n + 5}"], [TOPICS[n % 3]]) for n in range(12)),
    ]


def row(user: str, history: list[str], follows: list[str], now: int = NOW) -> dict:
    return {
        "user_id": user,
        "timestamp": now,
        "history_item_id": history,
        "history_timestamp": [now - 60 * (n + 1) for n in range(len(history))],
        "history_action": ["read"] * len(history),
        "followed_topic": follows,
    }


def publish(
    root: Path,
    items: dict[str, list[str]],
    titles: dict[str, str],
    sample: list[dict],
    vectors: np.ndarray | None = None,
    **fields,
) -> Path:
    """Publishes `<root>/serving/mosaic/<next>`; a slot per distinct history item and follow.

    Args:
      root: folder of everything.
      items: item id -> topics.
      titles: item id -> title.
      sample: rows of the sample.
      vectors: `[items, dim]`; random without.
    """
    topics = sorted({topic for names in items.values() for topic in names})
    model = fake_model(items, topics, vectors)
    index = root / "index"
    config = RetrievalConfig(
        num_results=12, max_results=60, merge="round_robin", filters=("topics", "created_at")
    )
    carried = [[topic.encode() for topic in names] for names in items.values()]
    retriever = Retriever(
        model,
        [item.encode() for item in items],
        carried,
        model.item_vectors.numpy()[: len(items)],
        config,
        attributes=Attributes({"topics": carried}, {"created_at": np.arange(len(items))}),
    )
    save_retriever(retriever, str(index / "retriever"))
    pq.write_table(
        pa.table({"item_id": list(items), "topics": list(items.values())}), index / "items.parquet"
    )
    (index / "index.json").write_text(json.dumps({"serve": "retriever", "items": len(items)}))
    save_fake_model(model, str(root / "model/Format-Serving"))
    actions = root / "model/Format-Serving/warm_start/vocabulary/actions.txt"
    actions.parent.mkdir(parents=True, exist_ok=True)
    actions.write_text("read\nshare\n")
    (root / "evaluation").mkdir(exist_ok=True)
    (root / "evaluation/evaluation.json").write_text('{"model": {"recall@100": 0.25}}')
    tables = write_tables(root / "tables", items, titles)
    settings = {"data": {"root": str(tables)}, "retrieval": config.model_dump()}
    given = {"data_root": str(tables), "config": settings, **fields}
    done = push(
        PushRequest(
            index_dir=index,
            model_dir=root / "model",
            evaluation_dir=root / "evaluation",
            serving_dir=root / "serving",
            name="mosaic",
            fields=ManifestFields(**given),
        ),
        blessed=True,
    )
    add_sample(done.destination, sample)
    return done.destination


def fake_model(items: dict, topics: list[str], vectors: np.ndarray | None) -> FakeModel:
    dim = 8 if vectors is None else vectors.shape[1]
    model = FakeModel([i.encode() for i in items], [t.encode() for t in topics], dim)
    if vectors is not None:
        model.item_vectors.assign(np.vstack([vectors, vectors.mean(axis=0, keepdims=True)]))
        means = [
            vectors[[topic in names for names in items.values()]].mean(axis=0) for topic in topics
        ]
        model.topic_vectors.assign(np.vstack([*means, vectors.mean(axis=0)]))
    return model


def write_tables(root: Path, items: dict[str, list[str]], titles: dict[str, str]) -> Path:
    """Writes the tables; `in the tables` is a user whom the sample does not know."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "items.csv", "w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["item_id", "topics", "title"])
        out.writerows([i, "|".join(names), titles.get(i, "")] for i, names in items.items())
    first, second = list(items)[-2:]
    with open(root / "engagements.csv", "w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["user_id", "item_id", "timestamp", "action"])
        out.writerow(["in the tables", first, NOW, "read"])
        out.writerow(["in the tables", second, NOW + 5, "share"])
    (root / "follows.csv").write_text(f"user_id,topic,timestamp\nin the tables,art,{NOW}\n")
    return root


def add_sample(bundle: Path, sample: list[dict]) -> None:
    """Adds `requests.parquet` to a published bundle and to its manifest."""
    path = bundle / "requests.parquet"
    pq.write_table(pa.Table.from_pylist(sample, SCHEMA), path)
    manifest = read_manifest(bundle)
    entry = FileEntry(sha256=file_sha256(path), bytes=path.stat().st_size)
    files = {**manifest.files, path.name: entry}
    write_manifest(bundle, manifest.model_copy(update={"files": files}))


@contextmanager
def running(model_dir: Path, poll_s: float = 0.1, port: int = 0):
    """Serves a model's folder; yields the address and the engine."""
    engine = Engine(ModelFolder(model_dir), poll_s=poll_s)
    engine.start()
    server = HttpServer("127.0.0.1", port, create_app(engine, Page(engine).routes()))
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}", engine
    finally:
        server.stop(5.0)
        engine.stop(5.0)


@functools.cache
def shared_world() -> Path:
    """Publishes the odd world once per process and returns its model's folder."""
    root = Path(tempfile.mkdtemp(prefix="page-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return publish(root, catalogue(), TITLES, requests()).parent
