"""Small real files as runs, pushes and candidates leave them."""

import json
import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.bundle.manifest import FileEntry, Manifest, write_manifest
from components.example_gen.columns import EXAMPLE_SCHEMA
from core.digest import file_sha256
from serving.page.sample import SCHEMA as SAMPLE_SCHEMA


def entry(path: Path) -> dict:
    return {"sha256": file_sha256(path), "bytes": path.stat().st_size}


def write_sample(path: Path, users: list[str]) -> None:
    rows = [
        {
            "user_id": user,
            "timestamp": 100 + n,
            "history_item_id": [f"i{n}", "i0"],
            "history_timestamp": [50, 40],
            "history_action": ["like", "like"],
            "followed_topic": ["music"],
        }
        for n, user in enumerate(users)
    ]
    pq.write_table(pa.Table.from_pylist(rows, SAMPLE_SCHEMA), path)


def write_bundle(model_dir: Path, version: int, users: list[str], warmup: bytes = b"") -> Path:
    folder = model_dir / str(version)
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    write_sample(folder / "requests.parquet", users)
    if warmup:
        (folder / "assets.extra/tf_serving_warmup_requests").write_bytes(warmup)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {p.relative_to(folder).as_posix(): FileEntry(**entry(p)) for p in paths}
    manifest = Manifest(
        name=model_dir.name, version=version, created_at="2025-01-01T00:00:00+00:00",
        tessera_version="1", content_digest="0", data_root="/tables", files=files,
    )  # fmt: skip
    write_manifest(folder, manifest)
    return folder


def write_day(out: Path, day: str, users: list[str], results: int = 3) -> Path:
    """Two parts, users in turn."""
    folder = out / f"day={day}"
    folder.mkdir(parents=True)
    files = {}
    for bucket in range(2):
        mine = users[bucket::2]
        ids = [user for user in mine for _ in range(results)]
        table = pa.table({"user_id": pa.array(ids, pa.string()), "rank": list(range(len(ids)))})
        path = folder / f"part-{bucket:05d}-of-00002.parquet"
        about = {b"users": str(len(mine)).encode()}
        pq.write_table(table.replace_schema_metadata(about), path, compression="zstd")
        files[path.name] = entry(path)
    manifest = {"day": day, "users": len(users), "rows": results * len(users), "files": files}
    (folder / "_manifest.json").write_text(json.dumps(manifest))
    return folder


def write_examples(folder: Path, split: str, users: list[str]) -> None:
    rows = [{name: [] for name in EXAMPLE_SCHEMA.names} | {"user_id": [u.encode()]} for u in users]
    path = folder / f"Split-{split}" / "examples-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, EXAMPLE_SCHEMA), path)


def write_metadata(path: Path, artifacts: dict[int, tuple[str, Path]], events: list) -> None:
    """The tables of ML Metadata that say which artifact was made of which."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE Type (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("CREATE TABLE Artifact (id INTEGER PRIMARY KEY, type_id INT, uri TEXT)")
        connection.execute("CREATE TABLE Event (artifact_id INT, execution_id INT, type INT)")
        names = sorted({name for name, _ in artifacts.values()})
        connection.executemany("INSERT INTO Type VALUES (?, ?)", list(enumerate(names)))
        rows = [(n, names.index(name), str(uri)) for n, (name, uri) in artifacts.items()]
        connection.executemany("INSERT INTO Artifact VALUES (?, ?, ?)", rows)
        connection.executemany("INSERT INTO Event VALUES (?, ?, ?)", events)
    connection.close()
