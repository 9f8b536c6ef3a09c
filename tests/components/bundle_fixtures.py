"""Small stand-ins for the artifacts that a push reads."""

import hashlib
import json
from pathlib import Path

from components.config import PusherConfig
from components.pusher.push import ManifestFields, PushRequest

INDEX_FILES = {
    "retriever/saved_model.pb": b"stock graph",
    "retriever/fingerprint.pb": b"print",
    "retriever/variables/variables.index": b"vi",
    "retriever/variables/variables.data-00000-of-00001": b"v" * 5000,
    "retriever_scann/saved_model.pb": b"scann graph",
    "retriever_scann/variables/variables.index": b"svi",
    "scann/scann_config.pb": b"config",
    "items.parquet": b"items",
    "item_embeddings.npy": b"embeddings",
    "index.json": b'{"serve": "retriever"}',
}
WARM_FILES = {"weights.npz": b"weights", "vocabulary/item_id.txt": b"a\nb\n"}


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def snapshot(root: Path) -> dict[str, str]:
    """Path and digest of everything below a folder, hidden files included."""
    return {
        path.relative_to(root).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        )
        for path in sorted(root.rglob("*"))
    }


def numeric_folders(model_dir: Path) -> list[int]:
    if not model_dir.exists():
        return []
    return sorted(int(path.name) for path in model_dir.iterdir() if path.name.isdigit())


def make_request(root: Path, content: str = "one", **fields) -> PushRequest:
    """A request whose index differs with `content`; artifacts are rewritten on each call."""
    index = write_tree(root / f"index-{content}", INDEX_FILES | {"items.parquet": content.encode()})
    model = write_tree(
        root / "model", {f"Format-Serving/warm_start/{k}": v for k, v in WARM_FILES.items()}
    )
    evaluation = write_tree(
        root / "evaluation",
        {"evaluation.json": json.dumps({"model": {"recall@100": 0.25, "mrr": None}}).encode()},
    )
    keep = fields.pop("keep_versions", 5)
    wait_s = fields.pop("lock_wait_s", 5.0)
    return PushRequest(
        index_dir=index,
        model_dir=model,
        evaluation_dir=evaluation,
        serving_dir=root / "serving",
        name="demo",
        fields=ManifestFields(**fields),
        config=PusherConfig(keep_versions=keep),
        lock_wait_s=wait_s,
    )
