"""What a version with a delta is made of: the files of another one, and a few of its own."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from components.bundle.manifest import FileEntry, Manifest
from components.index_builder.layout import (
    DELTA_ATTRIBUTES,
    DELTA_GONE,
    DELTA_ITEMS,
    SCANN_RETRIEVER,
)
from components.pusher.content import EVALUATION, Content
from components.pusher.model_card import MODEL_CARD
from components.refresh.index_refresh.keep import ASSETS_EXTRA
from components.serving_validator.layout import REQUESTS_FILE, VALIDATION_FILE
from core.digest import file_sha256
from core.errors import BundleError
from trainer.retrieval.delta import DELTA_ASSET

#: Files of a bundle that were found out about index and model.
_FINDINGS = frozenset({EVALUATION, REQUESTS_FILE, VALIDATION_FILE})


def write_tables(
    items: pa.Table, gone: pa.Array, attributes: pa.Table | None, folder: Path
) -> dict[str, Path]:
    """Writes what readers of a bundle need beside the SavedModels' own file.

    Args:
      items: `item_id`, `topics` and `features` of the new and changed items.
      gone: ids of the index that are withdrawn or changed.
      attributes: what requests filter the new and changed items by.
      folder: gets the files.

    Returns:
      The files by their path in the bundle.
    """
    tables = {DELTA_ITEMS: items, DELTA_GONE: pa.table({"item_id": gone})}
    if attributes is not None:
        tables[DELTA_ATTRIBUTES] = attributes
    for name, table in tables.items():
        pq.write_table(table, folder / name)
    return {name: folder / name for name in tables}


def delta_content(version_dir: Path, manifest: Manifest, own: dict[str, Path]) -> Content:
    """Returns the files of a published version with others in place of some.

    Args:
      version_dir: of the published version.
      manifest: its manifest.
      own: new files by their path in the bundle.

    Raises:
      BundleError: a file of the published version is missing or of another size.
    """
    kept = manifest.files.keys() - own.keys() - {MODEL_CARD}
    for name in sorted(kept):
        path, entry = version_dir / name, manifest.files[name]
        if not path.is_file() or path.stat().st_size != entry.bytes:
            raise BundleError(
                f"{path}: missing or changed; version {manifest.version} is damaged: use another "
                "one (refresh.version), or publish it again"
            )
    sources = {name: version_dir / name for name in kept} | own
    files = {name: manifest.files[name] for name in kept} | {
        name: FileEntry(sha256=file_sha256(path), bytes=path.stat().st_size)
        for name, path in own.items()
    }
    names = sorted(sources)
    extra = {name for name in names if ASSETS_EXTRA in PurePosixPath(name).parts}
    findings = extra | (_FINDINGS & set(names))
    return Content(
        {name: sources[name] for name in names},
        {name: files[name] for name in names},
        frozenset(findings),
        base=manifest.version,
        kept=frozenset(kept),
    )


def asset_paths(manifest: Manifest) -> list[str]:
    """Returns the paths in a bundle of the files that its SavedModels read."""
    wanted = (f"assets/{DELTA_ASSET}", f"{SCANN_RETRIEVER}/assets/{DELTA_ASSET}")
    return [name for name in wanted if name in manifest.files]
