"""The work of the BundleSource, free of TFX."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf

from components.bundle.manifest import Manifest
from components.bundle.mirror import shown
from components.bundle.verify import verify
from components.index_builder.layout import ATTRIBUTES_FILE, ITEMS_FILE, NEIGHBOURS_FILE
from components.index_builder.served_items import served_tables
from components.refresh.bundle_source.layout import KEPT_FILES, SOURCE_FILE
from components.serving_validator.layout import REQUESTS_FILE
from core.errors import BundleError
from core.files import staged_directory, write_json

_LOG = logging.getLogger("tessera")

EVALUATION_FILE = "evaluation.json"
WARM_START = "warm_start"
#: Where TFX looks inside a Model artifact.
MODEL_FOLDER = "Format-Serving"
EMBEDDINGS_FILE = "item_embeddings.npy"
_SAMPLE = 64
#: One batch of another size may round differently.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class SourcePaths:
    """Where the BundleSource writes.

    Attributes:
      model: Model artifact, gets `Format-Serving/`.
      bundle: gets the files that describe the published bundle.
      evaluation: gets `evaluation.json`.
      blessing: gets `blessing.json` and the marker `BLESSED`.
    """

    model: Path
    bundle: Path
    evaluation: Path
    blessing: Path


def take_bundle(version_dir: Path, manifest_digest: str, out: SourcePaths) -> Manifest:
    """Verifies a published bundle and hands out what a new index needs of it.

    Args:
      version_dir: `<serving_dir>/<name>/<version>`.
      manifest_digest: that of the manifest which this run was planned with.
      out: the output artifacts.

    Returns:
      The bundle's manifest.

    Raises:
      BundleError: the bundle is gone, damaged, another one than planned, without sample
        requests, or its model does not give the vectors that are served.
    """
    manifest = verify(version_dir)
    if manifest.manifest_digest != manifest_digest:
        raise BundleError(
            f"{version_dir}: replaced since this run began; run the same command again"
        )
    _require_files(version_dir)
    _export_model(version_dir, out.model / MODEL_FOLDER)
    for name in KEPT_FILES:
        _copy(version_dir / name, out.bundle / name)
    for name in (ATTRIBUTES_FILE, NEIGHBOURS_FILE):
        if (version_dir / name).is_file():
            _copy(version_dir / name, out.bundle / name)
    if manifest.delta is not None:
        for name, table in served_tables(version_dir).items():
            pq.write_table(table, out.bundle / name)
    write_json(out.bundle / SOURCE_FILE, {"version": manifest.version, "path": shown(version_dir)})
    _write_evaluation(version_dir, manifest, out.evaluation)
    _write_blessing(manifest, out.blessing)
    _LOG.info(
        "model of version %d, published %s for %s items",
        manifest.version,
        manifest.created_at,
        f"{pq.ParquetFile(version_dir / ITEMS_FILE).metadata.num_rows:,}",
    )
    return manifest


def _require_files(version_dir: Path) -> None:
    for name in KEPT_FILES:
        if (version_dir / name).is_file():
            continue
        if name == REQUESTS_FILE:
            raise BundleError(
                f"{version_dir / name}: missing; this bundle was published without sample "
                "requests (by an earlier Tessera or with serving.sample: none), so a new index for "
                "it could not be validated: run the whole pipeline once, with serving.sample plain "
                "or hashed where later versions are to be refreshed"
            )
        raise BundleError(f"{version_dir / name}: missing; run the whole pipeline once")


def _export_model(version_dir: Path, target: Path) -> None:
    """Writes the embedding model inside the retriever as a SavedModel of its own."""
    if target.exists():  # of an attempt that was killed
        shutil.rmtree(target)
    try:
        retriever = tf.saved_model.load(str(version_dir))
        model = retriever.embedding_model
        _check_vectors(model, version_dir)
        with staged_directory(target) as staging:
            signatures = {
                "serving_default": model.embed_user,
                "embed_user": model.embed_user,
                "embed_items": model.embed_items,
            }
            tf.saved_model.save(model, str(staging), signatures=signatures)
            if (version_dir / WARM_START).is_dir():
                shutil.copytree(version_dir / WARM_START, staging / WARM_START)
    except (AttributeError, TypeError, ValueError, tf.errors.OpError) as error:
        raise BundleError(
            f"{version_dir}: its SavedModel gives no embedding model ({error}); "
            "run the whole pipeline once"
        ) from error


def _check_vectors(model: Any, version_dir: Path) -> None:
    """Embeds some served items again: the vectors must be the published ones.

    Raises:
      BundleError: they are not, so the new index would not fit the user tower.
    """
    table = pq.read_table(version_dir / ITEMS_FILE)
    stored = np.load(version_dir / EMBEDDINGS_FILE, mmap_mode="r")
    rows = np.unique(np.linspace(0, len(stored) - 1, min(_SAMPLE, len(stored))).astype(int))
    sample = table.take(rows)
    given = {"item_id": tf.constant(sample.column("item_id").to_pylist(), tf.string)}
    for name in sample.column_names[1:]:  # topics and, of a model with features, features
        lists = [list(texts or []) for texts in sample.column(name).to_pylist()]
        width = max(1, *map(len, lists))
        padded = [texts + [""] * (width - len(texts)) for texts in lists]
        given[f"item_{name}"] = tf.constant(padded, tf.string)
    vectors = model.embed_items(**given)["embeddings"].numpy()
    difference = float(np.max(np.abs(vectors - stored[rows])))
    if not difference <= _TOLERANCE * max(1.0, float(np.max(np.abs(stored[rows])))):
        raise BundleError(
            f"{version_dir}: its model gives other item vectors than the published ones "
            f"(largest difference {difference:.3g}); run the whole pipeline once"
        )


def _write_evaluation(version_dir: Path, manifest: Manifest, folder: Path) -> None:
    """Hands on the figures of the model; they were measured with its first catalogue."""
    source = version_dir / EVALUATION_FILE
    if source.is_file():
        _copy(source, folder / EVALUATION_FILE)
    else:
        write_json(folder / EVALUATION_FILE, {"model": manifest.metrics})


def _write_blessing(manifest: Manifest, folder: Path) -> None:
    version = manifest.version
    metric = manifest.metrics.get(manifest.primary_metric)
    figure = "" if metric is None else f" with {manifest.primary_metric} {metric:.4f}"
    verdict = {
        "check": "published model",
        "value": version,
        "bound": None,
        "passed": True,
        "reason": f"version {version} was blessed when it was published{figure}",
    }
    write_json(folder / "blessing.json", {"blessed": True, "verdicts": [verdict]})
    (folder / "BLESSED").write_text("")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
