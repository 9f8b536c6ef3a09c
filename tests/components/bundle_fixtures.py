"""Small stand-ins for the artifacts that a push reads."""

import hashlib
import json
from pathlib import Path

from components.bundle import list_versions, verify
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
FINDINGS = {
    "assets.extra/tf_serving_warmup_requests": b"warm",
    "retriever_scann/assets.extra/tf_serving_warmup_requests": b"warm too",
    "requests.parquet": b"requests",
    "validation.json": b"{}",
}
_CONFIG_KEYS = ("keep_versions", "publish", "server", "server_timeout_s")
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
    """A request whose index differs with `content`; artifacts are rewritten on each call.

    `keep_versions`, `publish`, `server` and `server_timeout_s` go to the configuration,
    `lock_wait_s` to the request, all others to the manifest.
    """
    index = write_tree(root / f"index-{content}", INDEX_FILES | {"items.parquet": content.encode()})
    model = write_tree(
        root / "model", {f"Format-Serving/warm_start/{k}": v for k, v in WARM_FILES.items()}
    )
    evaluation = write_tree(
        root / "evaluation",
        {"evaluation.json": json.dumps({"model": {"recall@100": 0.25, "mrr": None}}).encode()},
    )
    wait_s = fields.pop("lock_wait_s", 5.0)
    config = {key: fields.pop(key) for key in _CONFIG_KEYS if key in fields}
    return PushRequest(
        index_dir=index,
        model_dir=model,
        evaluation_dir=evaluation,
        serving_dir=root / "serving",
        name="demo",
        fields=ManifestFields(**fields),
        config=PusherConfig(**config),
        lock_wait_s=wait_s,
    )


def marked(request: PushRequest, mark: str) -> PushRequest:
    """Ends every file of the request's index with `mark`, so that no two versions share one."""
    for path in request.index_dir.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes() + mark.encode())
    return request


def validation(root: Path, validated: bool = True, reason: str = "") -> Path:
    """A validation artifact's folder with the files that it adds to a bundle."""
    check = {"name": "latency", "model": "retriever", "passed": validated, "reason": reason}
    verdict = json.dumps({"validated": validated, "checks": [check]}).encode()
    return write_tree(
        root, {"validation.json": verdict} | {f"bundle/{k}": v for k, v in FINDINGS.items()}
    )


def looked_at(model_dir: Path) -> list[Path]:
    """Folders that TensorFlow Serving loads, by the rules of its 2.16.1 sources.

    A child whose name is a number is a version, whatever it holds
    (`file_system_storage_path_source.cc`): the newest, or those that `models.config` names.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    path = model_dir.parent / "models.config"
    if path.exists():
        text_format.Parse(path.read_text(), config)
    for model in config.model_config_list.config:
        if model.name == model_dir.name:
            numbers, policy = numeric_folders(model_dir), model.model_version_policy
            if policy.HasField("specific"):
                numbers = [n for n in numbers if n in policy.specific.versions]
            else:
                numbers = numbers[-1:]
            return [model_dir / str(number) for number in numbers]
    return []


def served_versions(model_dir: Path) -> list[int]:
    """What readers take for versions, each proved whole.

    Three readers: ours; TensorFlow Serving; a ScaNN-enabled one, which reads the links.
    """
    ours = [bundle.version for bundle in list_versions(model_dir)]
    for folder in [*looked_at(model_dir), *(model_dir / str(number) for number in ours)]:
        assert verify(folder).version == int(folder.name)
    for link in (model_dir / "scann").glob("[0-9]*"):
        target = link.resolve()
        assert target.relative_to(model_dir.resolve()).parts[0] == link.name
        assert (target / "saved_model.pb").exists() and int(link.name) in ours
    return ours
