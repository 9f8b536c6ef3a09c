"""Keeps the index of a published bundle, byte for byte, where a new one would say the same."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from components.bundle.manifest import Manifest, read_manifest
from components.bundle.opened import version_folder
from components.bundle.verify import check_file
from components.config import IndexConfig
from components.index_builder.layout import INDEX_FILE, RETRIEVER
from components.refresh.bundle_source.layout import SOURCE_FILE
from core.errors import BundleError
from core.files import read_json
from trainer.config import RetrievalConfig

_LOG = logging.getLogger("tessera")

#: Entries of a bundle that belong to its top SavedModel.
_SAVED_MODEL = frozenset(
    ("saved_model.pb", "saved_model.pbtxt", "fingerprint.pb", "keras_metadata.pb",
     "variables", "assets")
)  # fmt: skip
ASSETS_EXTRA = "assets.extra"
#: Entries that are no part of an index: the model's, the evaluation's, the validation's.
_NO_INDEX = frozenset(
    ("evaluation.json", "validation.json", "requests.parquet", "warm_start", ASSETS_EXTRA,
     "model_card.md")
)  # fmt: skip


def same_index(
    bundle: Path, catalogue: dict[str, Any], config: IndexConfig, retrieval: RetrievalConfig,
    code_digest: str,
) -> bool:  # fmt: skip
    """Returns whether a new index would be the published one again.

    Args:
      bundle: the `bundle` artifact of a BundleSource.
      catalogue: `catalogue` of the CatalogueGen's `data_report.json`.
      config: settings of the new index.
      retrieval: settings of the new retriever.
      code_digest: digest of the code that publishes now, as manifests record it.
    """
    manifest = read_manifest(bundle)
    recorded = manifest.config.get("index")
    served = read_json(bundle / INDEX_FILE).get("retrieval")
    if not catalogue["unchanged"] or manifest.code_digest != code_digest:
        return False
    if manifest.delta is not None:  # what lies beside the index goes into it
        return False
    try:
        return (
            IndexConfig.model_validate(recorded) == config
            and RetrievalConfig.model_validate(served) == retrieval
        )
    except ValueError:  # of a version that knew other settings
        return False


def keep(bundle: Path, index: Path) -> dict[str, Any]:
    """Copies the published index to where the IndexBuilder would write a new one.

    Args:
      bundle: the `bundle` artifact of a BundleSource.
      index: the index artifact.

    Returns:
      The content of `index.json`.

    Raises:
      BundleError: the version was removed or damaged since the run began.
    """
    manifest = read_manifest(bundle)
    with version_folder(read_json(bundle / SOURCE_FILE)["path"]) as published:
        for name, target in index_files(manifest).items():
            try:
                (index / target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(published / name, index / target)
            except OSError as error:
                raise BundleError(
                    f"{published / name}: cannot be read ({error.strerror}); version "
                    f"{manifest.version} was changed since this run began: run the same command "
                    "again"
                ) from error
            check_file(index / target, manifest.files[name])
    summary: dict[str, Any] = read_json(index / INDEX_FILE)
    _LOG.info("nothing changed: the index of version %d is kept", manifest.version)
    return summary


def index_files(manifest: Manifest) -> dict[str, str]:
    """Returns where each file of a bundle's index lay in the index artifact."""
    found = {}
    for name in manifest.files:
        first, *rest = PurePosixPath(name).parts
        if first in _NO_INDEX or rest[:1] == [ASSETS_EXTRA]:
            continue
        found[name] = f"{RETRIEVER}/{name}" if first in _SAVED_MODEL else name
    return found
