"""A published bundle of the fake model, with sample requests, that a refresh can start from."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.bundle.manifest import Manifest, read_manifest
from components.config import IndexConfig
from components.example_gen.attributes import write_attributes
from components.pusher.push import ManifestFields, PushRequest, push
from components.refresh.bundle_source.source import SourcePaths, take_bundle
from components.serving_validator.sample import sample_requests, write_requests
from tests.components.bundle_fixtures import write_tree
from tests.components.raw_examples import corpus_item, write_split
from tests.components.retrieval_world import IDS, ITEM_TOPICS, build, write_world
from trainer.config import RetrievalConfig

CODE = "0123456789abcdef"
RETRIEVAL = RetrievalConfig(num_results=20)
INDEX = IndexConfig(kind="exact", recall_target=0.9)
REQUESTS = 40


def publish_world(
    root: Path, requests: bool = True, retrieval: RetrievalConfig = RETRIEVAL, **fields
) -> Path:
    """Builds the world once below `root` and publishes it; returns the version's folder.

    Items are of region `de` and were created at 100, where `retrieval` filters by either.
    """
    if not (root / "index").exists():
        write_world(root, n_eval=60)
        # As the readers of tables give them: no topic twice.
        topics = [list(dict.fromkeys(names)) for names in ITEM_TOPICS]
        corpus = [corpus_item(i, t) for i, t in zip(IDS, topics, strict=True)]
        write_split(root / "examples", "corpus", corpus)
        names = retrieval.attribute_columns()
        values = {"region": b"de", "created_at": b"100"}
        items = pa.table(
            {
                "item_id": pa.array([i.encode() for i in IDS], pa.large_binary()),
                "attributes": pa.array(
                    [[values[name] for name in names]] * len(IDS),
                    pa.large_list(pa.large_binary()),
                ),
            }
        )
        write_attributes(str(root / "examples"), "examples-00000-of-00001", items, names)
        build(root, **retrieval.model_dump(exclude_unset=True))
    write_tree(
        root / "trained",
        {"Format-Serving/warm_start/weights.npz": b"weights", "Format-Serving/saved_model.pb": b""},
    )
    write_tree(
        root / "evaluation",
        {"evaluation.json": b'{"model": {"recall@100": 0.25}, "primary_metric": "recall@100"}'},
    )
    overlay = root / "validation" / "bundle"
    write_tree(overlay, {"validation.json": b"{}", "assets.extra/warmup": b"records"})
    if requests:
        write_requests(
            sample_requests(str(root / "examples"), REQUESTS, seed=1)[1],
            overlay / "requests.parquet",
        )
    settings = {"index": INDEX.model_dump(mode="json"), "retrieval": retrieval.model_dump()}
    done = push(
        PushRequest(
            index_dir=root / "index",
            model_dir=root / "trained",
            evaluation_dir=root / "evaluation",
            serving_dir=root / "serving",
            name="world",
            fields=ManifestFields(
                **{"code_digest": CODE, "training_digest": "t" * 16, "config": settings} | fields
            ),
            validation_dir=root / "validation",
        ),
        blessed=True,
    )
    return done.destination


def taken(version_dir: Path, out: Path) -> tuple[Manifest, SourcePaths]:
    """Runs the BundleSource's work; folders are made as TFX makes them."""
    paths = SourcePaths(*(out / name for name in ("model", "bundle", "evaluation", "blessing")))
    for folder in vars(paths).values():
        folder.mkdir(parents=True, exist_ok=True)
    return take_bundle(version_dir, read_manifest(version_dir).manifest_digest, paths), paths


def items_of(version_dir: Path) -> dict[str, list[str]]:
    """Id -> topics of a published bundle's items."""
    table = pq.read_table(version_dir / "items.parquet")
    return {row["item_id"]: row["topics"] for row in table.to_pylist()}
