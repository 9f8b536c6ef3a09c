"""`tessera refresh --delta`: a new items table beside the index that is served.

New and changed items are embedded by the served model and searched exactly; withdrawn ones are
masked. What is published is a version of its own, with the files of the other one and a few
small ones. The ordinary refresh puts everything into one index again.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.bundle.manifest import DeltaFields, Manifest
from components.bundle.mirror import complete, mirrored
from components.bundle.verify import check_file
from components.index_builder.layout import (
    ATTRIBUTES_FILE,
    INDEX_FILE,
    ITEMS_FILE,
)
from components.pusher.push import PushRequest, PushResult, push
from components.refresh.catalogue_gen.changes import binary, refuse_lost_items, texts_of
from components.refresh.catalogue_gen.config import CatalogueGenConfig
from components.refresh.catalogue_gen.items import checked_items
from components.refresh.catalogue_gen.window import opened_window
from components.refresh.delta.compare import Changes, compare
from components.refresh.delta.served_model import ServedModel, check_served, embed
from core.digest import file_sha256
from core.errors import BundleError, DataError
from core.files import read_json
from core.storage import absolute
from pipeline.config import RunConfig
from pipeline.refresh.fields import manifest_fields, pusher_config
from pipeline.refresh.resolve import Refresh, resolve_refresh

if TYPE_CHECKING:
    from trainer.config import RetrievalConfig

_LOG = logging.getLogger("tessera")


@dataclass(frozen=True)
class DeltaResult:
    """What became of a delta.

    Attributes:
      push: of the new version.
      delta: what the manifest records.
      parent: the version that was served.
      seconds: by step, in the order of the steps.
    """

    push: PushResult
    delta: DeltaFields
    parent: int
    seconds: dict[str, float]


def refresh_delta(config: RunConfig) -> DeltaResult:
    """Publishes what a new items table changes, beside the index of the served version.

    Args:
      config: of a refresh (`pipeline: refresh`).

    Raises:
      BundleError: nothing is published, or what is served has no room for a delta.
      DataError: the table breaks the contract, or changes more than a delta may.
      IndexQualityError: the items are not served as they should be.
      PushError: publishing failed.
    """
    refresh = resolve_refresh(config)
    version = str(refresh.parent.version)
    with mirrored(refresh.config.serving_dir, config.name) as serving_dir, _without_collection():
        version_dir = serving_dir / config.name / version
        complete(version_dir)
        return _published(refresh, version_dir)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Leaves circular garbage alone: looking for it among TensorFlow's objects costs a second."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _published(refresh: Refresh, version_dir: Path) -> DeltaResult:
    manifest = refresh.parent.manifest
    summary = read_json(version_dir / INDEX_FILE)
    retrieval = _retrieval(refresh, version_dir, summary)
    seconds: dict[str, float] = {}
    with ThreadPoolExecutor(1) as beside, TemporaryDirectory(prefix="tessera-delta-") as folder:
        started = time.perf_counter()
        loading = beside.submit(_loaded, version_dir)
        items, changes = _changes(refresh, version_dir, manifest, retrieval)
        seconds["table"] = time.perf_counter() - started
        model = loading.result()
        seconds["model"] = time.perf_counter() - started
        warm = beside.submit(model.warm_up, version_dir)
        written = _written(model, items, changes, refresh, Path(folder))
        warm.result()
        own = _tried(model, written, changes, version_dir, refresh, Path(folder))
        seconds["delta"] = time.perf_counter() - started
        delta = DeltaFields(
            base_version=manifest.delta.base_version if manifest.delta else manifest.version,
            sha256=file_sha256(next(iter(own.values()))),
            **changes.figures(),
        )
        result = _push(refresh, version_dir, delta, own)
        seconds["published"] = time.perf_counter() - started
    return DeltaResult(result, delta, manifest.version, seconds)


def _retrieval(refresh: Refresh, version_dir: Path, summary: dict[str, Any]) -> RetrievalConfig:
    """Returns the published settings.

    Raises:
      BundleError: there is no room for a delta, or other settings are asked for.
    """
    wanted = refresh.config.retrieval
    given = summary.get("retrieval") or {}
    if not given.get("delta"):
        raise BundleError(
            f"{version_dir}: was published without room for a delta; run the ordinary refresh once "
            "with `--set retrieval.delta=true`"
        )
    if wanted.model_dump(mode="json") != given:
        raise BundleError(
            f"{version_dir}: was published with other settings under `retrieval`; a delta changes "
            "the catalogue only: run the ordinary refresh"
        )
    return wanted


def _loaded(version_dir: Path) -> ServedModel:
    """Loads the SavedModel with stock operations, whose file the one with ScaNN reads as well."""
    return ServedModel(version_dir)


def _changes(
    refresh: Refresh, version_dir: Path, manifest: Manifest, retrieval: RetrievalConfig
) -> tuple[pa.Table, Changes]:
    """Reads the new table and compares it with the index."""
    config = refresh.config
    index = pq.read_table(_sound(version_dir, ITEMS_FILE, manifest))
    names = retrieval.attribute_columns()
    attributes = None
    if names:
        attributes = pq.read_table(_sound(version_dir, ATTRIBUTES_FILE, manifest))
    with _new_items(config, names) as (items, places):
        found = compare(index, attributes, items, names)
        lost = {
            "items": items.num_rows,
            "items_before": index.num_rows,
            "removed": len(found.withdrawn),
            "removed_examples": index["item_id"].take(pa.array(found.withdrawn[:3])).to_pylist(),
        }
        refuse_lost_items(lost, config.refresh.max_removed_share, places)
        share = max(len(found.rows), len(found.gone)) / max(1, index.num_rows)
        if share > config.refresh.max_delta_share:
            raise DataError(
                f"{places}: {found.added:,} items are new, {found.changed:,} changed and "
                f"{len(found.withdrawn):,} gone, {share:.0%} of the index; "
                f"refresh.max_delta_share allows {config.refresh.max_delta_share:.0%}: run the "
                "ordinary refresh, or raise that bound"
            )
        return items, found


@contextmanager
def _new_items(config: RunConfig, names: tuple[str, ...]) -> Iterator[tuple[pa.Table, str]]:
    """Yields the distinct items of the table and the names of its files."""
    settings = CatalogueGenConfig(
        data=config.data,
        time_unit=config.examples.time_unit,
        attributes=names,
        features=config.features,
        max_bad_share=config.examples.max_bad_share,
        max_removed_share=config.refresh.max_removed_share,
    )
    with opened_window(settings, {}) as window, TemporaryDirectory() as letters:
        kept = Path(absolute(config.work_dir)) / "dead_letters" / "refresh-delta"
        items, _ = checked_items(settings, window, Path(letters), kept)
        yield items, ", ".join(file.name for file in window.tables.files)


def _sound(version_dir: Path, name: str, manifest: Manifest) -> Path:
    """Returns the path of a file of the bundle that is as it was published."""
    if name not in manifest.files:
        raise BundleError(f"{version_dir / name}: missing; run the ordinary refresh")
    check_file(version_dir / name, manifest.files[name])
    return version_dir / name


class _Written(NamedTuple):
    """The SavedModel's file and what it was made of."""

    asset: Path
    ids: list[bytes]
    changed: pa.Table
    attributes: pa.Table | None


def _written(
    model: ServedModel, items: pa.Table, changes: Changes, refresh: Refresh, folder: Path
) -> _Written:
    """Embeds the new and changed items and writes the file that the SavedModel reads."""
    # Imported here, so that the table is read while TensorFlow is imported.
    from components.example_gen.attributes import attribute_columns
    from components.index_builder.attributes import filter_attributes
    from components.index_builder.catalogue import Catalogue
    from trainer.retrieval.delta import DELTA_ASSET, DeltaItems, Texts, write_delta

    retrieval = refresh.config.retrieval
    changed = items.take(pa.array(changes.rows))
    ids = texts_of(changed["item_id"])
    topics = changed["topics"].combine_chunks()
    vectors = embed(model, changed, refresh.config.index.batch_size)
    names = retrieval.attribute_columns()
    attributes = attribute_columns(changed, names) if names else None
    of_filters = None
    if retrieval.filters:
        lists = [list(each or []) for each in topics.to_pylist()]
        of_filters = filter_attributes(attributes, Catalogue(ids, lists, vectors), retrieval)
    of_topics = Texts(
        topics.flatten().to_numpy(zero_copy_only=False),
        np.asarray(pc.list_value_length(topics).fill_null(0), np.int64),
    )
    asset = folder / DELTA_ASSET
    write_delta(
        DeltaItems(ids, of_topics, vectors, changes.gone, of_filters),
        retrieval.filter_columns(),
        asset,
    )
    return _Written(asset, ids, changed, attributes)


def _tried(
    model: ServedModel,
    written: _Written,
    changes: Changes,
    version_dir: Path,
    refresh: Refresh,
    folder: Path,
) -> dict[str, Path]:
    """Has the loaded model answer with the new file, and writes the tables beside it.

    Returns:
      The files by their path in the bundle, those of the SavedModels first.
    """
    from components.example_gen.catalogue import topics_of, values_of
    from components.refresh.delta.content import asset_paths, write_tables

    changed = written.changed
    model.load_delta(written.asset)
    index = pq.read_table(version_dir / ITEMS_FILE, columns=["item_id"])["item_id"]
    withdrawn = texts_of(index.take(pa.array(changes.withdrawn)))
    check_served(model, version_dir, written.ids, withdrawn)
    tables = write_tables(
        pa.table(
            {
                "item_id": changed["item_id"],
                "topics": topics_of(changed),
                "features": values_of(changed),
            }
        ),
        binary(index).take(pa.array(np.asarray(changes.gone))),
        written.attributes,
        folder,
    )
    return dict.fromkeys(asset_paths(refresh.parent.manifest), written.asset) | tables


def _push(
    refresh: Refresh, version_dir: Path, delta: DeltaFields, own: dict[str, Path]
) -> PushResult:
    from components.refresh.delta.content import delta_content

    manifest = refresh.parent.manifest
    fields = manifest_fields(refresh, manifest.code_digest)
    request = PushRequest(
        index_dir=version_dir,
        model_dir=None,
        evaluation_dir=version_dir,
        serving_dir=absolute(refresh.config.serving_dir),
        name=refresh.config.name,
        fields=fields.model_copy(update={"delta": delta}),
        config=pusher_config(refresh),
        content=delta_content(version_dir, manifest, own),
    )
    result = push(request, blessed=True)
    _LOG.info("%s", result.reason)
    return result
