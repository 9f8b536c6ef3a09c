"""`manifest.json`: what a published bundle holds and where it came from.

The manifest is written last and checked first: a folder without a valid one is
not a bundle, whatever else lies in it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from core.config import BaseConfig
from core.errors import BundleError
from core.feature_config import FeaturesConfig

MANIFEST_NAME = "manifest.json"


class FileEntry(BaseConfig):
    """One file of a bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class DeltaFields(BaseConfig):
    """What a version changes beside the index of another one."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    base_version: int = Field(description="version whose index this one has")
    added: int = Field(0, description="items that the index lacks")
    changed: int = Field(
        0, description="items with other topics, features or attributes than in the index"
    )
    withdrawn: int = Field(0, description="items of the index that are gone")
    sha256: str = Field("", description="of the file that the SavedModels read")


class Manifest(BaseConfig):
    """The content of `manifest.json`.

    `files` maps each file's path (relative, `/` between folders) to its digest
    and covers everything but the manifest; `manifest_digest` covers the manifest.
    """

    # A newer Tessera may add keys; they are kept out of the way, not refused.
    model_config = ConfigDict(extra="ignore", frozen=True)

    format_version: int = 1
    name: str
    version: int = Field(ge=1)
    created_at: str = Field(description="UTC, ISO 8601")
    tessera_version: str
    run_id: str = ""
    training_digest: str = Field("", description="configuration and code, without the data")
    config_digest: str = Field("", description="the whole run configuration")
    code_digest: str = Field("", description="sources of the project")
    content_digest: str = Field(description="index and model; equal content has equal digests")
    span: int | None = Field(
        None, description="days since 1970-01-01 of the data's last day; None: data without spans"
    )
    run_date: str = Field("", description="YYYY-MM-DD, the span as a date")
    data_fingerprint: str = ""
    data_root: str = Field("", description="folder of the tables the model was trained on")
    time_unit: str = Field("seconds", description="seconds, or order (positions without a clock)")
    metrics: dict[str, float | None] = Field({}, description="of the evaluated model")
    primary_metric: str = ""
    parent_version: int | None = Field(None, description="the version that was newest before")
    baseline_version: int | None = Field(None, description="what it was compared with")
    refreshed_from: int | None = Field(
        None, description="version whose model was put over a new catalogue; None: trained"
    )
    model_version: int | None = Field(
        None, description="version in which this model was first published"
    )
    delta: DeltaFields | None = Field(
        None, description="what lies beside the index of another version; None: an index of its own"
    )
    config: dict[str, Any] = Field({}, description="run configuration, for information")
    files: dict[str, FileEntry]
    manifest_digest: str = ""

    @property
    def features(self) -> FeaturesConfig:
        """Features that requests and catalogue have beside the contract's columns."""
        return FeaturesConfig.model_validate(self.config.get("features") or {})

    @property
    def total_bytes(self) -> int:
        """Size of all files but the manifest, in bytes."""
        return sum(entry.bytes for entry in self.files.values())

    def sealed(self) -> Manifest:
        """Returns a copy whose `manifest_digest` matches the other fields."""
        return self.model_copy(update={"manifest_digest": _digest(self.model_dump(mode="json"))})


def tessera_version() -> str:
    """Returns the installed version, or `source` when Tessera runs from a checkout."""
    try:
        return importlib.metadata.version("tessera-retrieval")
    except importlib.metadata.PackageNotFoundError:
        return "source"


def content_digest(files: Mapping[str, FileEntry]) -> str:
    """Returns a hex digest of paths and contents, whatever the order of `files`."""
    text = json.dumps({name: entry.sha256 for name, entry in files.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def manifest_text(manifest: Manifest) -> str:
    """Returns the content of the sealed manifest's file."""
    return json.dumps(manifest.sealed().model_dump(mode="json"), indent=2, allow_nan=False) + "\n"


def write_manifest(directory: str | Path, manifest: Manifest) -> None:
    """Writes the sealed manifest into `directory` and flushes it to the disk."""
    path = Path(directory) / MANIFEST_NAME
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(manifest_text(manifest))
        stream.flush()
        os.fsync(stream.fileno())


def read_manifest(directory: str | Path) -> Manifest:
    """Reads and checks the manifest of one version folder; the files are not read.

    Raises:
      BundleError: missing, not JSON, keys missing, or changed after it was written.
    """
    path = Path(directory) / MANIFEST_NAME
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(
            f"{path}: no manifest, so this is not a published bundle; "
            "give a version folder, or the folder above the versions"
        ) from None
    except NotADirectoryError:
        raise BundleError(f"{directory}: a file, not a bundle folder") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{path}: not JSON ({error}); publish the bundle again") from error
    return parse_manifest(tree, path)


def parse_manifest(tree: Any, path: Path) -> Manifest:
    """Checks the decoded JSON of a manifest; `path` is named in errors."""
    if not isinstance(tree, dict):
        raise BundleError(f"{path}: expected an object, got {type(tree).__name__}")
    try:
        manifest = Manifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: key {key!r}: {first['msg']}") from error
    if manifest.manifest_digest != _digest(tree):
        raise BundleError(
            f"{path}: changed after publishing (manifest_digest does not match); "
            "publish the bundle again"
        )
    return manifest


def _digest(tree: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in tree.items() if key != "manifest_digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
